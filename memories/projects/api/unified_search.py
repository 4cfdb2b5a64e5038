"""/search: one search over everything a namespace knows."""

import time

from ninja import Router

from memories.projects.schemas.unified_search import UnifiedIn, UnifiedOut
from memories.projects.unified_search import add_source, build_unified_ranking
from memories.search.execute import find_memories
from memories.search.query import Search
from memories.search.query_embedding import resolve_search_vector
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access
from sessions_app.idempotency import idempotent

router = Router(tags=["search"])


@router.post("/search", auth=read_access, response={200: UnifiedOut, **PROBLEMS})
@idempotent(atomic=False)
def search_everything(request: ApiRequest, payload: UnifiedIn):
    """Find whatever the namespace knows: memories of every type and source, each content once. With a project what is
    near to it weighs more. Changes nothing."""
    started = time.perf_counter()
    caller, (vector, degraded) = request.auth, resolve_search_vector(payload, request.auth.embedding_model)
    order = build_unified_ranking(caller.namespace_id, payload.project)
    query = None if payload.mode == "vector" else payload.query
    search = Search(query, vector, caller.embedding_model, payload.limit, payload.threshold, order)
    hits = [
        add_source(hit)
        for hit in find_memories(caller.namespace_id, payload.conditions(), search, explain=payload.explain)
    ]
    took = round((time.perf_counter() - started) * 1000, 2)
    return json_response({"results": hits, "mode": payload.mode, "degraded": degraded, "took_ms": took})
