"""/context and /summary: context for an agent's next answer, and totals of a namespace."""

from ninja import Router

from memories.embeddings import get_embedder
from memories.knowledge.context import build_context
from memories.knowledge.models import Cluster, Pattern, Preference
from memories.knowledge.schemas.context import ContextualIn, ContextualOut, SummaryOut
from memories.models import Memory, Reembedding
from memories.schemas import SearchIn
from memories.search.execute import TimedSearch
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.api.conversations import conversation_not_found
from sessions_app.auth import ApiRequest, read_access
from sessions_app.idempotency import idempotent

router = Router(tags=["knowledge"])
REEMBEDDING_COLUMNS = ("model", "memories_done", "memories_total", "created_at")


@router.post("/context", auth=read_access, response={200: ContextualOut, **PROBLEMS})
@idempotent(atomic=False)
def get_context(request: ApiRequest, payload: ContextualIn):
    """Return context for a query: memories ranked as recall does, the user's preferences, the last messages of the
    conversation, and clusters that share a word with the query. Read-only: no access is counted."""
    asked = SearchIn(query=payload.query, limit=payload.limit, floor=payload.floor)
    search = TimedSearch(asked, request.auth.embedding_model)
    context = build_context(request.auth.namespace_id, payload, search)
    if context is None:
        raise conversation_not_found()
    return json_response(context | search.report())


@router.get("/summary", auth=read_access, response={200: SummaryOut, **PROBLEMS})
def get_summary(request: ApiRequest):
    """Count what the namespace stores, and the memories that still have to be embedded."""
    namespace_id = request.auth.namespace_id
    memories = Memory.objects.in_namespace(namespace_id)
    reembedding = Reembedding.objects.filter(namespace_id=namespace_id, finished_at=None)
    models = {
        "embedding_model": request.auth.embedding_model or get_embedder().model,
        "reembedding": reembedding.values(*REEMBEDDING_COLUMNS).first(),
    }
    counts = {
        "preferences": Preference.objects.in_namespace(namespace_id).count(),
        "clusters": Cluster.objects.in_namespace(namespace_id).count(),
        "patterns": Pattern.objects.in_namespace(namespace_id).count(),
        "recent": memories.recent().count(),
        "important": memories.important().count(),
    }
    return json_response(memories.summary() | counts | models)
