"""/tool-results: what a tool gave, and the entities in it."""

from django.http import HttpRequest
from ninja import Router

from memories import tasks
from memories.graph.tool_results import keep
from memories.graph.tool_results_schemas import ToolResultIn, ToolResultOut
from memories.making_way import making_way
from memory_site.answers import PROBLEMS, answer
from memory_site.auth import writes
from memory_site.deadlocks import surviving_deadlocks
from memory_site.idempotency import idempotent

router = Router(tags=["memories"])


@router.post("/tool-results", auth=writes, response={201: ToolResultOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def add_tool_result(request: HttpRequest, payload: ToolResultIn):
    """Keep a tool's result as a memory of type tool_output, and the Salesforce, Jira and ServiceNow records in it as
    entities of their own: `produces` leads to them, and to what they belong to `belongs_to`, as soon as that is known.
    Any JSON will do; of what is too large or too deep a text is kept, and `truncated` says so."""
    kept = keep(request.auth.namespace_id, payload)
    tasks.bell.ring()
    return answer(kept, 201)
