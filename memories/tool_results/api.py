"""/tool-results: what a tool gave, and the entities in it."""

from django.http import HttpRequest
from ninja import Router

from memories import tasks
from memories.expiry import making_way
from memories.tool_results.schemas import ToolResultIn, ToolResultOut
from memories.tool_results.storage import keep
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import writes
from sessions_app.idempotency import idempotent

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
