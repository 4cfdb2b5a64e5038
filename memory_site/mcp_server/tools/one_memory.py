"""One memory by its id, if the address shows it."""

from typing import Any
from uuid import UUID

from memory_site.mcp_server.arguments import parse_id
from memory_site.mcp_server.faults import NO_MEMORY, ToolFault
from memory_site.mcp_server.operations import Refused
from memory_site.mcp_server.tools.tool import Call


def fetch_memory(call: Call, text: str) -> dict[str, Any]:
    """Return the memory of this id. Raises ToolFault if there is none, or if the address does not show it."""
    memory = call_operation(call, "GET", "get_memory", str(require_memory_id(text)))
    if not call.subject.may_see(memory):
        raise ToolFault(NO_MEMORY)
    return memory


def call_operation(call: Call, method: str, name: str, memory_id: str, *body: Any) -> Any:
    """Call an operation on one memory. Raises ToolFault if there is none, Refused for other reasons."""
    try:
        return call.api.call(method, name, *body, memory_id=memory_id)
    except Refused as refused:
        raise ToolFault(NO_MEMORY) if refused.status == 404 else refused from None


def require_memory_id(text: str) -> UUID:
    if (memory_id := parse_id(text)) is None:
        raise ToolFault(NO_MEMORY)
    return memory_id
