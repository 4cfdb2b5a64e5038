"""/memories/recall, /memories/{memory_id}/recall and /users/{user_id}/retrieve: finding that counts as use."""

import time
from typing import Any
from uuid import UUID

from django.db import connection
from django.http import HttpRequest
from ninja import Router

from memories.add import named
from memories.api.memories import missing
from memories.embeddings import EmbeddingError
from memories.retrieval.recall import USE, WEIGHED, note_use
from memories.retrieval.retrieve import Wanted, retrieve, vectors_of
from memories.retrieval.schemas import RecallOut, RetrievedOut, RetrieveIn
from memories.schemas import MemoryOut, SearchIn, memory_out, out_columns
from memories.search.execute import find
from memories.search.query import Search
from memories.search.query_embedding import search_vector
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import writes
from sessions_app.idempotency import idempotent

router = Router(tags=["recall"])
# Counted and read at once, so that what is told is exact whoever else uses the memory.
USE_ONE = f"""{USE}
AND memory.namespace_id = %s AND (memory.expires_at IS NULL OR memory.expires_at > statement_timestamp())
RETURNING {out_columns("memory")}
"""


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


@router.post("/memories/{memory_id}/recall", auth=writes, response={200: MemoryOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def recall_memory(request: HttpRequest, memory_id: UUID):
    """One memory, of which this counts as a use. Getting it counts nothing."""
    with connection.cursor() as cursor:
        cursor.execute(USE_ONE, [[memory_id], request.auth.namespace_id])
        row = cursor.fetchone()
    if row is None:
        raise missing()
    return answer(memory_out(named(row)))


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
