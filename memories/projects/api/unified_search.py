"""/search: one search over everything a namespace knows."""

from ninja import Router

from memories.projects.schemas.unified_search import UnifiedIn, UnifiedOut
from memories.projects.unified_search import add_source, build_unified_ranking
from memories.search.execute import TimedSearch
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access
from sessions_app.idempotency import idempotent

router = Router(tags=["search"])


@router.post("/search", auth=read_access, response={200: UnifiedOut, **PROBLEMS})
@idempotent(atomic=False)
def search_everything(request: ApiRequest, payload: UnifiedIn):
    """Find whatever the namespace knows: memories of every type and source, each content once. With a project what is
    near to it weighs more. Changes nothing."""
    caller = request.auth
    search = TimedSearch(payload, caller.embedding_model)
    order = build_unified_ranking(caller.namespace_id, payload.project)
    hits = search.find(
        caller.namespace_id,
        payload.conditions(),
        threshold=payload.threshold,
        ranking=order,
        explain=payload.explain,
    )
    return json_response({"results": [add_source(hit) for hit in hits], "mode": payload.mode} | search.report())
