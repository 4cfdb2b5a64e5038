"""/users/{user_id}/graph: what is central in a user's graph, its clusters, and what holds it together."""

from ninja import Query, Router

from memories.graph.analysis import analyse_graph
from memories.graph.schemas.analysis import GraphOut
from memories.graph.summary import graph_out
from memory_site.core.http.fields import Label
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access

router = Router(tags=["users"])


@router.get("/users/{path:user_id}/graph", auth=read_access, response={200: GraphOut, **PROBLEMS})
def user_graph(request: ApiRequest, user_id: Label, limit: int = Query(10, ge=1, le=100)):
    """The most central memories of a user, clusters, bridges and connectors: `limit` of each. Worked out when the graph
    has changed; with more than 2,000 relationships 10 seconds after the last time at the earliest, so that the answer
    may be that old. 409 when the graph is too large for that, 503 when too many are being worked out."""
    namespace_id = request.auth.namespace_id
    return json_response(graph_out(analyse_graph(namespace_id, user_id), namespace_id, user_id, limit))
