"""/memories/recall and /users/{user_id}/retrieve: finding that counts as use."""

import time
from typing import Any

from django.http import HttpRequest
from ninja import Router

from memories.api import search_vector
from memories.embeddings import EmbeddingError
from memories.find import find
from memories.graph.finding_schemas import RecallOut, RetrievedOut, RetrieveIn
from memories.graph.recall import WEIGHED, note_use
from memories.graph.retrieve import Wanted, retrieve, vectors_of
from memories.schemas import SearchIn
from memories.search import Search
from memory_site.answers import PROBLEMS, answer
from memory_site.auth import writes
from memory_site.deadlocks import surviving_deadlocks
from memory_site.idempotency import idempotent
from memory_site.schemas import Label

router = Router(tags=["recall"])


@router.post("/memories/recall", auth=writes, response={200: RecallOut, **PROBLEMS})
def recall_memories(request: HttpRequest, payload: SearchIn):
    """Find memories as a search does, weighed by importance, confidence, age and use, and count one access on each that
    is returned. `relevance` is that before the access."""
    started, vector = time.perf_counter(), search_vector(payload, request.auth.embedding_model)
    return recalled(request, payload, vector, started)


@surviving_deadlocks
@idempotent
def recalled(request: HttpRequest, payload: SearchIn, vector: tuple[Any, bool], started: float):
    query = None if payload.mode == "vector" else payload.query
    model = request.auth.embedding_model
    search = Search(query, vector[0], model, payload.limit, payload.threshold, ranking=WEIGHED)
    hits = find(request.auth.namespace_id, payload.filters, search, explain=payload.explain)
    return used(hits, started, mode=payload.mode, degraded=vector[1])


def used(hits: list[dict[str, Any]], started: float, **more: Any):
    note_use([hit["memory"]["id"] for hit in hits])
    return answer({"results": hits, "took_ms": round((time.perf_counter() - started) * 1000, 2)} | more)


@router.post("/users/{path:user_id}/retrieve", auth=writes, response={200: RetrievedOut, **PROBLEMS})
def retrieve_memories(request: HttpRequest, user_id: Label, payload: RetrieveIn):
    """What matters to a user for a query: the entity whose id it names, else what fits its words and its meaning, what
    is near in the graph, new and relevant before the rest. Nothing, when nothing fits. Counts one access on each."""
    started = time.perf_counter()
    try:
        vectors, degraded = vectors_of(payload.query, request.auth.embedding_model), False
    except EmbeddingError:
        vectors, degraded = [], True
    return retrieved(request, user_id, payload, vectors, degraded, started)


@surviving_deadlocks
@idempotent
def retrieved(request: HttpRequest, user_id: str, payload: RetrieveIn, vectors: list, degraded: bool, started: float):
    caller, wanted = request.auth, Wanted(user_id=user_id, **payload.filters())
    hits = retrieve(
        caller.namespace_id, wanted, payload.query, vectors, caller.embedding_model, payload.near, payload.limit
    )
    return used(hits, started, degraded=degraded)
