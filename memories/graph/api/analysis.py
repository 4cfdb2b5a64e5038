"""/users/{user_id}/graph: the analysis of a user's graph."""

from ninja import Query, Router

from memories.graph.analysis_cache import get_analysis
from memories.graph.schemas.analysis import GraphOut
from memories.graph.summary import graph_out
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access

router = Router(tags=["users"])


@router.get("/users/{path:user_id}/graph", auth=read_access, response={200: GraphOut, **PROBLEMS})
def get_user_graph(request: ApiRequest, user_id: Label, limit: int = Query(10, ge=1, le=100)):
    """Return the most central memories of a user, clusters, bridges and connectors: `limit` of each. They are computed
    when the graph has changed; with more than 2,000 relationships the answer may be 10 seconds old. 409 when the graph
    is too large to be analysed, 503 when too many graphs are being analysed."""
    namespace_id = request.auth.namespace_id
    return json_response(graph_out(get_analysis(namespace_id, user_id), namespace_id, user_id, limit))
