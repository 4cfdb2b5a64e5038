"""/context and /summary: what an agent should have in mind, and what a namespace holds."""

from ninja import Router

from memories.embeddings import get_embedder
from memories.knowledge.context import build_context
from memories.knowledge.models import Cluster, Pattern, Preference
from memories.knowledge.schemas.context import ContextualIn, ContextualOut, SummaryOut
from memories.models import Memory, Reembedding
from memories.schemas import SearchIn
from memories.search.query_embedding import resolve_search_vector
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.api.conversations import conversation_not_found
from sessions_app.auth import ApiRequest, read_access
from sessions_app.idempotency import idempotent

router = Router(tags=["knowledge"])
REEMBEDDING_COLUMNS = ("model", "memories_done", "memories_total", "created_at")


@router.post("/context", auth=read_access, response={200: ContextualOut, **PROBLEMS})
@idempotent(atomic=False)
def get_context(request: ApiRequest, payload: ContextualIn):
    """What to have in mind for a query: memories by words, meaning and worth, the user's preferences, the last
    messages, clusters that share a word. Changes nothing, counts no access."""
    model = request.auth.embedding_model
    vector, degraded = resolve_search_vector(SearchIn(query=payload.query), model)
    known = build_context(request.auth.namespace_id, payload, vector, model)
    if known is None:
        raise conversation_not_found()
    return json_response(known | {"degraded": degraded})


@router.get("/summary", auth=read_access, response={200: SummaryOut, **PROBLEMS})
def summary(request: ApiRequest):
    """How much the namespace remembers, and how much of it is still to be embedded."""
    owner = request.auth.namespace_id
    memories = Memory.objects.in_namespace(owner)
    coming = Reembedding.objects.filter(namespace_id=owner, finished_at=None).values(*REEMBEDDING_COLUMNS).first()
    models = {"embedding_model": request.auth.embedding_model or get_embedder().model, "reembedding": coming}
    kinds = {"preferences": Preference, "clusters": Cluster, "patterns": Pattern}
    counts = {name: model.objects.in_namespace(owner).count() for name, model in kinds.items()}
    counts |= {"recent": memories.recent().count(), "important": memories.important().count()}
    return json_response(memories.summary() | counts | models)
