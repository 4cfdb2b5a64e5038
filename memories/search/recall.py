"""Recall of the index of the vectors: what share of the exact answer a search by the index finds."""

from collections.abc import Collection, Iterable

from memories.search.execute import find_nearest_ids
from memories.search.filters import Filters

MIN_RECALL = 0.99
SIMILARITY_TOLERANCE = 1e-3  # of the cosine: the precision of half-precision vectors


def measure_recall(namespace_id: int, filters: Filters, vector: list[float], model: str, limit: int) -> float:
    """Return the share of the exact result that the index finds; rows as near as the last one count too."""
    exact = find_nearest_ids(namespace_id, filters, vector, model, limit, exact=True)
    found = find_nearest_ids(namespace_id, filters, vector, model, limit, exact=False)
    return compute_share(found.values(), exact.values())


def compute_share(found: Iterable[float], exact: Collection[float]) -> float:
    """Return how many similarities found are no lower than the last exact one, as a share of the exact ones."""
    last = min(exact, default=0.0) - SIMILARITY_TOLERANCE
    return sum(similarity >= last for similarity in found) / len(exact) if exact else 1.0
