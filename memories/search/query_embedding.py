"""The vector of a query: cached, because agents repeat queries, behind a circuit breaker for the embedder."""

from typing import Any, Protocol

from memories.embeddings import Embedder, EmbedderUnavailable, EmbeddingError, Vector, get_embedder_for_model
from memory_site.core.caches import Cache
from memory_site.core.tracing import trace_embedding

MAX_CACHED_VECTORS = 2_000
# For so long after an outage searches fail at once: one of them waits for the embedder's timeout, not all.
CIRCUIT_BREAKER_SECONDS = 5.0
MAX_OPEN_CIRCUITS = 1_000

#: By model and query with single spaces.
query_vectors: Cache[tuple[str, str], Vector] = Cache(MAX_CACHED_VECTORS)
#: Models whose embedder was unavailable within CIRCUIT_BREAKER_SECONDS.
open_circuits: Cache[str, bool] = Cache(MAX_OPEN_CIRCUITS, CIRCUIT_BREAKER_SECONDS)


def get_query_vector(query: str, model: str | None) -> Vector:
    """Return the query's vector by a model (None: the configured one), shape (768,), unit length.

    Raises EmbedderUnavailable, or TextRefused for a text that the embedder cannot read.
    """
    embedder = get_embedder_for_model(model)
    key = (embedder.model, " ".join(query.split()))
    vector = query_vectors.get(key)
    if vector is None:
        if open_circuits.get(embedder.model):
            raise EmbedderUnavailable
        query_vectors.set(key, vector := embed_query(embedder, key[1]))
    return vector


def embed_query(embedder: Embedder, query: str) -> Vector:
    """Embed a query. After EmbedderUnavailable the model is not called for CIRCUIT_BREAKER_SECONDS."""
    try:
        with trace_embedding(embedder.model, 1):
            return embedder.embed_query(query)
    except EmbedderUnavailable:
        open_circuits.set(embedder.model, True)
        raise


class SearchRequest(Protocol):
    """What every search over HTTP says: words, a vector, or both, which of them to search by, and its floor."""

    @property
    def query(self) -> str | None: ...
    @property
    def vector(self) -> list[float] | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def limit(self) -> int: ...
    @property
    def floor(self) -> float | None: ...


def resolve_search_vector(payload: SearchRequest, model: str | None) -> tuple[Any, bool]:
    """Return the vector to search with, and whether the search is degraded: it should have a vector and has none.

    Raises EmbeddingError in mode "vector", which has no words to search instead.
    """
    if payload.mode == "text" or payload.vector is not None or payload.query is None:
        return (None if payload.mode == "text" else payload.vector), False
    try:
        return get_query_vector(payload.query, model), False
    except EmbeddingError:
        if payload.mode == "vector":
            raise
        return None, True
