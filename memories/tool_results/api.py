"""/tool-results: store the result of a tool and its entities."""

from ninja import Router

from memories import tasks
from memories.expiry import purge_expired_memories
from memories.tool_results.schemas import ToolResultIn, ToolResultOut
from memories.tool_results.storage import store_tool_result
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])


@router.post("/tool-results", auth=write_access, response={201: ToolResultOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_tool_result(request: ApiRequest, payload: ToolResultIn):
    """Store a tool's result as a memory of type tool_output, and the Salesforce, Jira and ServiceNow records in it as
    entities. The result `produces` them, and they `belongs_to` others as soon as those are stored. Any JSON is valid;
    of a result that is too large or too deep, the beginning is stored as a text, with `truncated`."""
    stored = store_tool_result(request.auth.namespace_id, payload)
    tasks.embedding_trigger.notify_on_commit()
    return json_response(stored, 201)
