"""The vector of a query: cached, because agents repeat themselves, and refused at once while the embedder is away."""

import threading
import time
from collections import OrderedDict

from memories.embeddings import EmbedderUnavailable, Vector, get_embedder

REMEMBERED = 2_000
# After a failure nobody waits for the embedder again for so long: one search pays for its time-out, not all of them.
REST_SECONDS = 5.0

_lock = threading.Lock()
_vectors: OrderedDict[tuple[str, str], Vector] = OrderedDict()
_away_until = 0.0


def query_vector(query: str) -> Vector:
    """The query's vector, shape (768,), unit length. Raises EmbedderUnavailable, or TextRefused for a text the
    embedder cannot read."""
    global _away_until
    embedder = get_embedder()
    key = (embedder.model, " ".join(query.split()))
    with _lock:
        if key in _vectors:
            _vectors.move_to_end(key)
            return _vectors[key]
    if time.monotonic() < _away_until:
        raise EmbedderUnavailable
    try:
        vector = embedder.embed_query(key[1])
    except EmbedderUnavailable:
        _away_until = time.monotonic() + REST_SECONDS
        raise
    with _lock:
        _vectors[key] = vector
        while len(_vectors) > REMEMBERED:
            _vectors.popitem(last=False)
    return vector


def forget_queries() -> None:
    """Start afresh: for a changed embedder, and for tests."""
    global _away_until
    with _lock:
        _vectors.clear()
        _away_until = 0.0
