"""Recall@10 of filtered vector searches, against the exact answers, which are kept beside the rows."""

import json
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

from django.conf import settings
from django.db import connection

from memories.management.commands.check_recall import compute_share
from memories.search.execute import find_memories, find_nearest_ids
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.scope_size import scope_sizes
from tests.benchmarks.data import METADATA_SHARES

MAX_RESULTS = 10
FILTERS: dict[str, Filters | None] = {name: Filters(metadata={"kept": [name]}) for name in METADATA_SHARES}
FILTERS["100 %"] = None


def measure_recall(namespace_id: int, filter_name: str, vectors: list[list[float]], model: str) -> dict[str, float]:
    """Return mean and least recall, the fewest hits, and the median milliseconds of a search."""
    wanted, exact = FILTERS[filter_name], read_exact_answers(namespace_id, filter_name, vectors, model)
    scope_sizes.clear()
    shares, hits, times = [], [], []
    for vector, best in zip(vectors, exact, strict=True):
        started = time.perf_counter()
        found = find_memories(namespace_id, wanted, Search(None, vector, model, MAX_RESULTS))
        times.append((time.perf_counter() - started) * 1000)
        shares.append(compute_share([hit["similarity"] for hit in found], best))
        hits.append(len(found))
    return {"mean": mean(shares), "minimum": min(shares), "fewest": min(hits), "ms": median(times)}


def read_exact_answers(
    namespace_id: int, filter_name: str, vectors: list[list[float]], model: str
) -> list[list[float]]:
    """Return the similarities of the ten nearest for each vector. A scan of a million rows takes seconds: it is done
    once for each data directory."""
    file = Path(settings.HOME.path, "exact-answers.json")
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    answers = kept.setdefault(filter_name, [])
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    for vector in vectors[len(answers) :]:
        nearest = find_nearest_ids(namespace_id, FILTERS[filter_name], vector, model, MAX_RESULTS, exact=True)
        answers.append(list(nearest.values()))
        file.write_text(json.dumps(kept))
    return answers[: len(vectors)]
