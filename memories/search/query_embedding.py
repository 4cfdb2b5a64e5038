"""The vector of a query: cached, because agents repeat themselves, and refused at once while the embedder is away."""

import threading
import time
from collections import OrderedDict
from typing import Any

from memories.embeddings import EmbedderUnavailable, EmbeddingError, Vector, embedder_of
from memories.schemas import SearchIn

REMEMBERED = 2_000
# After a failure nobody waits for the embedder again for so long: one search pays for its time-out, not all of them.
REST_SECONDS = 5.0

_lock = threading.Lock()
_vectors: OrderedDict[tuple[str, str], Vector] = OrderedDict()
_away_until: dict[str, float] = {}


def query_vector(query: str, model: str | None) -> Vector:
    """The query's vector by a model (None: the configured one), shape (768,), unit length. Raises EmbedderUnavailable,
    or TextRefused for a text the embedder cannot read."""
    embedder = embedder_of(model)
    key = (embedder.model, " ".join(query.split()))
    with _lock:
        if key in _vectors:
            _vectors.move_to_end(key)
            return _vectors[key]
    if time.monotonic() < _away_until.get(embedder.model, 0):
        raise EmbedderUnavailable
    try:
        vector = embedder.embed_query(key[1])
    except EmbedderUnavailable:
        _away_until[embedder.model] = time.monotonic() + REST_SECONDS
        raise
    with _lock:
        _vectors[key] = vector
        while len(_vectors) > REMEMBERED:
            _vectors.popitem(last=False)
    return vector


def forget_queries() -> None:
    """Start afresh: for a changed embedder, and for tests."""
    with _lock:
        _vectors.clear()
        _away_until.clear()


def search_vector(payload: SearchIn, model: str | None) -> tuple[Any, bool]:
    """The vector to search with, and whether the search does without one it should have. Raises EmbeddingError when it
    cannot do without."""
    if payload.mode == "text" or payload.vector is not None:
        return (None if payload.mode == "text" else payload.vector), False
    try:
        return query_vector(payload.query, model), False
    except EmbeddingError:
        if payload.mode == "vector":
            raise
        return None, True
