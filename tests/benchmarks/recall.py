"""How much of the exact answer a filtered search gives, at the first and at the last search of one connection."""

import time
from statistics import mean, median

from rich.table import Table

from memories.management.commands.check_recall import share
from memories.models import Memory
from memories.search.execute import find, nearest_ids
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.scope_size import sizes
from sessions_app.models import Namespace
from tests.benchmarks.data import SHARES, Synthetic

LIMIT = 10


def recalls(namespace: Namespace, data: Synthetic, model: str, searches: int) -> Table:
    columns = ("filter keeps", "rows", "mean", "minimum", "first search", f"search {searches}", "fewest rows", "p50 ms")
    table = Table(*columns, title=f"recall@{LIMIT} of filtered vector searches, {searches} on one connection")
    filters = {"all": None} | {name: Filters(metadata={"kept": [name]}) for name in SHARES}
    for name, wanted in filters.items():
        rows = Memory.objects.in_namespace(namespace.pk).matching(wanted).count()
        table.add_row(name, f"{rows:,}", *figures(namespace.pk, wanted, data.vectors(searches).tolist(), model))
    return table


def figures(namespace_id: int, wanted: Filters | None, vectors: list, model: str) -> list[str]:
    sizes.clear()
    found = [find(namespace_id, wanted, Search(None, vector, model, LIMIT)) for vector in vectors]
    shares = [
        share(
            [hit["similarity"] for hit in hits],
            nearest_ids(namespace_id, wanted, vector, model, LIMIT, exact=True).values(),
        )
        for hits, vector in zip(found, vectors, strict=True)
    ]
    fewest = min(len(hits) for hits in found)
    numbers = [f"{mean(shares):.4f}", f"{min(shares):.2f}", f"{shares[0]:.2f}", f"{shares[-1]:.2f}", str(fewest)]
    return [*numbers, timed(namespace_id, wanted, vectors, model)]


def timed(namespace_id: int, wanted: Filters | None, vectors: list, model: str) -> str:
    times = []
    for vector in vectors:
        started = time.perf_counter()
        find(namespace_id, wanted, Search(None, vector, model, LIMIT))
        times.append((time.perf_counter() - started) * 1000)
    return f"{median(times):.1f}"
