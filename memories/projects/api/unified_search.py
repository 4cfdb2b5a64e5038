"""/search: search everything that a namespace has stored."""

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
    """Search memories of every type and source, each content once. With a project, what that project sees weighs more.
    Changes nothing."""
    caller = request.auth
    search = TimedSearch(payload, caller.embedding_model)
    ranking = build_unified_ranking(caller.namespace_id, payload.project)
    hits = search.find(
        caller.namespace_id,
        payload.conditions(),
        threshold=payload.threshold,
        ranking=ranking,
        explain=payload.explain,
    )
    return json_response({"results": [add_source(hit) for hit in hits], "mode": payload.mode} | search.report())
