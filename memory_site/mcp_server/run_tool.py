"""Run a tool for a caller, on the thread of the request, and say what went wrong in a sentence."""

from typing import Any

from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.faults import ToolFault, to_fault
from memory_site.mcp_server.tools.tool import Call, Tool, Toolbox

#: A memory has at most 100,000 characters. What is longer than this was not meant as the arguments of one call.
MAX_MESSAGE_BYTES = 2**20
TOO_LONG = f"The arguments are too long: a message may take {MAX_MESSAGE_BYTES // 2**20} MB. Send less at once."


def run_tool(call: Call, toolbox: Toolbox, name: str, arguments: dict[str, Any], message_bytes: int) -> Answer:
    """Return a tool's answer. Raises ToolFault with a sentence for the model, and nothing else."""
    try:
        if message_bytes > MAX_MESSAGE_BYTES:
            raise ToolFault(TOO_LONG)
        tool = find_tool(call, toolbox, name)
        answer = tool.run(call, tool.arguments.model_validate(drop_unset(call, arguments)))
    except Exception as error:
        raise to_fault(error, f"The tool {name}") from None
    answer.notes += list_ignored(call, tool, arguments)
    return answer


def find_tool(call: Call, toolbox: Toolbox, name: str) -> Tool:
    """Return the tool. Raises ToolFault if there is none of this name, or none for this key."""
    tool = toolbox.get(name)
    if tool is not None and tool.is_offered(call):
        return tool
    if tool is not None and (missing := [scope for scope in tool.scopes if not call.has_scopes(scope)]):
        raise ToolFault(f"This API key lacks the scope '{missing[0]}', which {name} needs.")
    offered = ", ".join(each.name for each in toolbox.values() if each.is_offered(call))
    raise ToolFault(f"There is no such tool here; there are {offered}.")


def drop_unset(call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out nulls, which some models send for what they do not set, and the user where it is pinned."""
    hidden = {"user"} if call.subject.pinned else set()
    return {name: value for name, value in arguments.items() if value is not None and name not in hidden}


def list_ignored(call: Call, tool: Tool, arguments: dict[str, Any]) -> list[str]:
    fields = {field.alias or name for name, field in tool.arguments.model_fields.items()}
    known = fields - ({"user"} if call.subject.pinned else set())
    ignored = [name[:64] for name in sorted(arguments) if name not in known]
    return [f"{tool.name} ignored arguments that it does not have: {', '.join(ignored[:10])}."] if ignored else []
