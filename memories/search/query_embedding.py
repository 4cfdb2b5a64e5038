"""The vector of a query: cached, because agents repeat themselves, and refused at once while the embedder is away."""

import threading
import time
from collections import OrderedDict
from typing import Any

from memories.embeddings import EmbedderUnavailable, EmbeddingError, Vector, get_embedder_for_model
from memories.schemas import SearchIn

MAX_CACHED_VECTORS = 2_000
# After a failure nobody waits for the embedder again for so long: one search pays for its time-out, not all of them.
CIRCUIT_BREAKER_SECONDS = 5.0

_lock = threading.Lock()
_vectors: OrderedDict[tuple[str, str], Vector] = OrderedDict()
_open_until: dict[str, float] = {}


def get_query_vector(query: str, model: str | None) -> Vector:
    """The query's vector by a model (None: the configured one), shape (768,), unit length. Raises EmbedderUnavailable,
    or TextRefused for a text the embedder cannot read."""
    embedder = get_embedder_for_model(model)
    key = (embedder.model, " ".join(query.split()))
    with _lock:
        if key in _vectors:
            _vectors.move_to_end(key)
            return _vectors[key]
    if time.monotonic() < _open_until.get(embedder.model, 0):
        raise EmbedderUnavailable
    try:
        vector = embedder.embed_query(key[1])
    except EmbedderUnavailable:
        _open_until[embedder.model] = time.monotonic() + CIRCUIT_BREAKER_SECONDS
        raise
    with _lock:
        _vectors[key] = vector
        while len(_vectors) > MAX_CACHED_VECTORS:
            _vectors.popitem(last=False)
    return vector


def clear_query_cache() -> None:
    """Start afresh: for a changed embedder, and for tests."""
    with _lock:
        _vectors.clear()
        _open_until.clear()


def resolve_search_vector(payload: SearchIn, model: str | None) -> tuple[Any, bool]:
    """The vector to search with, and whether the search does without one it should have. Raises EmbeddingError when it
    cannot do without."""
    if payload.mode == "text" or payload.vector is not None:
        return (None if payload.mode == "text" else payload.vector), False
    try:
        return get_query_vector(payload.query, model), False
    except EmbeddingError:
        if payload.mode == "vector":
            raise
        return None, True
