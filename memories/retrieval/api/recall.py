"""/memories/recall, /memories/{memory_id}/recall and /users/{user_id}/retrieve: reads that count an access."""

import time
from typing import Any
from uuid import UUID

from django.db import connection
from django.http import HttpResponse
from ninja import Router

from memories.api.memories import memory_not_found
from memories.api.versions import memory_response
from memories.embeddings import EmbeddingError
from memories.retrieval.recall import COUNT_ACCESS_SQL, RECALL_RANKING, count_access
from memories.retrieval.retrieve import RetrievalFilters, prepare_query, retrieve
from memories.retrieval.schemas import RecallOut, RetrievedOut, RetrieveIn
from memories.schemas import MemoryOut, SearchIn, qualify_out_columns, to_memory_out
from memories.search.execute import TimedSearch, elapsed_ms
from memories.search.floor import Floor, build_floor
from memories.states import alive_sql
from memories.storage import row_to_dict
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, json_response
from memory_site.core.metrics.counters import count_search
from sessions_app.auth import ApiRequest, change_access
from sessions_app.write_operations import write_operation

router = Router(tags=["recall"])
# One statement counts and reads, so that the count in the answer is exact under concurrent recalls.
COUNT_ACCESS_RETURNING_SQL = f"""{COUNT_ACCESS_SQL}
AND {alive_sql("memory")}
RETURNING {qualify_out_columns("memory")}
"""


@router.post("/memories/recall", auth=change_access, response={200: RecallOut, **PROBLEMS})
def recall_memories(request: ApiRequest, payload: SearchIn):
    """Search memories, weighted by importance, confidence, age and use, and count one access on each result.
    `relevance` is the value before the access."""
    return search_and_count_access(request, payload, TimedSearch(payload, request.auth.embedding_model))


@write_operation
def search_and_count_access(request: ApiRequest, payload: SearchIn, search: TimedSearch):
    namespace_id = request.auth.namespace_id
    hits = search.find(
        namespace_id,
        payload.filters,
        threshold=payload.threshold,
        ranking=RECALL_RANKING,
        explain=payload.explain,
    )
    report = {"mode": payload.mode, "degraded": search.degraded, "floor": search.floor.level}
    return count_access_and_respond(namespace_id, hits, search.started, **report)


def count_access_and_respond(
    namespace_id: int, hits: list[dict[str, Any]], started: float, **fields: Any
) -> HttpResponse:
    count_access(namespace_id, [hit["memory"]["id"] for hit in hits])
    return json_response({"results": hits, "took_ms": elapsed_ms(started)} | fields)


@router.post("/memories/{memory_id}/recall", auth=change_access, response={200: MemoryOut, **PROBLEMS})
@write_operation
def recall_memory(request: ApiRequest, memory_id: UUID):
    """Return one memory and count an access on it. `GET` does not count."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ACCESS_RETURNING_SQL, {"namespace": request.auth.namespace_id, "memories": [memory_id]})
        row = cursor.fetchone()
    if row is None:
        raise memory_not_found()
    return memory_response(to_memory_out(row_to_dict(row)))


@router.post("/users/{path:user_id}/retrieve", auth=change_access, response={200: RetrievedOut, **PROBLEMS})
def retrieve_memories(request: ApiRequest, user_id: Label, payload: RetrieveIn):
    """Retrieve what matters to a user for a query: the entity whose id it names, else memories that match its words and
    its meaning, near, new and relevant ones first. Empty when nothing matches. Counts one access on each result."""
    started = time.perf_counter()
    try:
        (vector, floor), degraded = prepare_query(payload.query, request.auth.embedding_model), False
    except EmbeddingError:
        vector, degraded = None, True
        floor = build_floor(None, payload.query, request.auth.embedding_model, by_meaning=False)
    return retrieve_and_count_access(request, user_id, payload, vector, floor, degraded, started)


@write_operation
def retrieve_and_count_access(
    request: ApiRequest, user_id: str, payload: RetrieveIn, vector: Any, floor: Floor, degraded: bool, started: float
):
    caller, filters = request.auth, RetrievalFilters(user_id=user_id, **payload.filters())
    hits = retrieve(
        caller.namespace_id, filters, payload.query, vector, floor, caller.embedding_model, payload.near, payload.limit
    )
    count_search("relevance", len(hits), degraded=degraded)
    return count_access_and_respond(caller.namespace_id, hits, started, degraded=degraded)
