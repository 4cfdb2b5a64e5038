"""Recall@10 of filtered vector searches, against the exact answers, which are kept beside the rows."""

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, median

import numpy as np
from django.conf import settings
from django.db import connection

from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.recall import compute_share
from memories.search.scope_size import scope_sizes
from tests.benchmarks.data import METADATA_SHARES

MAX_RESULTS, CHUNK_ROWS = 10, 10_000
NO_FILTER = "100 %"
FILTERS = {name: Filters(metadata={"kept": [name]}) for name in METADATA_SHARES} | {NO_FILTER: None}
#: halfvec's binary form: two numbers of 16 bits, then the elements, all in network byte order.
HEADER_BYTES, ELEMENT = 4, np.dtype(">f2")
VECTORS_SQL = """
COPY (
    SELECT embedding.vector, memory.metadata FROM memories_embedding embedding
    JOIN memories_memory memory ON memory.namespace_id = embedding.namespace_id AND memory.id = embedding.memory_id
    WHERE memory.namespace_id = {namespace:d}
) TO STDOUT (FORMAT BINARY)"""


def measure_recall(namespace_id: int, filter_name: str, vectors: np.ndarray, model: str) -> dict[str, float]:
    """Return mean and least recall, the fewest hits, and the median milliseconds of a search."""
    wanted, exact = FILTERS[filter_name], read_exact_answers(namespace_id, vectors)[filter_name]
    scope_sizes.clear()
    shares, hits, times = [], [], []
    for vector, best in zip(vectors.tolist(), exact, strict=True):
        started = time.perf_counter()
        found = find_memories(namespace_id, wanted, Search(None, vector, model, MAX_RESULTS))
        times.append((time.perf_counter() - started) * 1000)
        shares.append(compute_share([hit["similarity"] for hit in found], best))
        hits.append(len(found))
    return {"mean": mean(shares), "minimum": min(shares), "fewest": min(hits), "ms": median(times)}


def read_exact_answers(namespace_id: int, vectors: np.ndarray) -> dict[str, list[list[float]]]:
    """Return, by filter and query, the similarities of the ten nearest. Computed once for each data directory."""
    file = Path(settings.HOME.path, f"exact-answers-{len(vectors)}.json")
    if not file.exists():
        file.write_text(json.dumps(compute_exact_answers(namespace_id, vectors)))
    return json.loads(file.read_text())


def compute_exact_answers(namespace_id: int, vectors: np.ndarray) -> dict[str, list[list[float]]]:
    """Compare every stored vector with every query, in one pass and without the product's own search."""
    nearest = {name: np.full((len(vectors), MAX_RESULTS), -np.inf, np.float32) for name in FILTERS}
    stored = fetch_rows(namespace_id)
    while rows := list(islice(stored, CHUNK_ROWS)):
        similarities = vectors @ np.stack([row for row, _ in rows]).T
        for name, best in nearest.items():
            mask = [name == NO_FILTER or name in kept for _, kept in rows]
            nearest[name] = np.sort(np.hstack([best, similarities[:, mask]]))[:, -MAX_RESULTS:]
    return {name: [best[np.isfinite(best)].tolist() for best in all_best] for name, all_best in nearest.items()}


def fetch_rows(namespace_id: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield each vector with the names of the filters that keep its memory."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        with cursor.copy(VECTORS_SQL.format(namespace=namespace_id)) as copy:
            copy.set_types(["bytea", "jsonb"])
            for vector, metadata in copy.rows():
                yield np.frombuffer(vector[HEADER_BYTES:], ELEMENT).astype(np.float32), metadata["kept"]
