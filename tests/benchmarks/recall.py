"""How much of the exact answer a filtered search gives, at the first and at the last search of one connection."""

import time
from statistics import mean, median

from rich.table import Table

from memories.models import Memory
from memories.search.execute import find_memories, find_nearest_ids
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.recall import compute_share
from memories.search.scope_size import scope_sizes
from sessions_app.models import Namespace
from tests.benchmarks.data import METADATA_SHARES, Synthetic

MAX_RESULTS = 10


def measure_recall(namespace: Namespace, data: Synthetic, model: str, searches: int) -> Table:
    columns = ("filter keeps", "rows", "mean", "minimum", "first search", f"search {searches}", "fewest rows", "p50 ms")
    table = Table(*columns, title=f"recall@{MAX_RESULTS} of filtered vector searches, {searches} on one connection")
    filters = {"all": None} | {name: Filters(metadata={"kept": [name]}) for name in METADATA_SHARES}
    for name, wanted in filters.items():
        rows = Memory.objects.in_namespace(namespace.pk).matching(wanted).count()
        table.add_row(name, f"{rows:,}", *format_figures(namespace.pk, wanted, data.vectors(searches).tolist(), model))
    return table


def format_figures(namespace_id: int, wanted: Filters | None, vectors: list, model: str) -> list[str]:
    scope_sizes.clear()
    found = [find_memories(namespace_id, wanted, Search(None, vector, model, MAX_RESULTS)) for vector in vectors]
    shares = [
        compute_share(
            [hit["similarity"] for hit in hits],
            find_nearest_ids(namespace_id, wanted, vector, model, MAX_RESULTS, exact=True).values(),
        )
        for hits, vector in zip(found, vectors, strict=True)
    ]
    fewest = min(len(hits) for hits in found)
    numbers = [f"{mean(shares):.4f}", f"{min(shares):.2f}", f"{shares[0]:.2f}", f"{shares[-1]:.2f}", str(fewest)]
    return [*numbers, measure_median(namespace_id, wanted, vectors, model)]


def measure_median(namespace_id: int, wanted: Filters | None, vectors: list, model: str) -> str:
    times = []
    for vector in vectors:
        started = time.perf_counter()
        find_memories(namespace_id, wanted, Search(None, vector, model, MAX_RESULTS))
        times.append((time.perf_counter() - started) * 1000)
    return f"{median(times):.1f}"
