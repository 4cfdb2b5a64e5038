"""The tool that tells what was said lately in a session."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer, fence, indent, shorten, take_texts
from memory_site.mcp_server.arguments import Arguments, MaxTokens
from memory_site.mcp_server.faults import ToolFault
from memory_site.mcp_server.tools.tool import Call, tool


class SessionContext(Arguments):
    session: str | None = Field(default=None, description="The session's id.")
    limit: Annotated[int, Field(ge=1, le=50)] = 5
    max_tokens: MaxTokens = 2000


class Interactions(BaseModel):
    session: str
    interactions: list[dict[str, Any]] = Field(description="Newest first.")
    left_out: int = 0
    notes: list[str] = []


@tool("Session context", SessionContext, Interactions, is_pinnable=False)
def session_context(call: Call, given: SessionContext) -> Answer:
    """Use to see what was said lately in a session: questions and answers, newest first."""
    if (session := given.session or call.subject.session) is None:
        raise ToolFault("The arguments are not valid. session: is required.")
    found = call.api.call("GET", "session_context", query={"limit": given.limit}, session_id=session)["interactions"]
    if not found:
        return Answer(f"Nothing was said lately in session {session}.", {"session": session, "interactions": []})
    found = [
        each | {name: shorten(each[name], given.max_tokens // 2) for name in ("query", "answer")} for each in found
    ]
    shown, lines = take_texts(found, write_interaction, given.max_tokens)
    answer = Answer(fence(lines), {"session": session, "interactions": shown})
    if left_out := len(found) - len(shown):
        answer.data["left_out"] = left_out
        answer.notes.append(f"{left_out} older ones did not fit into max_tokens={given.max_tokens}.")
    return answer


def write_interaction(each: dict[str, Any]) -> str:
    return indent(f"- {each['timestamp']}\nQ: {each['query']}\nA: {each['answer']}")
