"""The tool that opens a conversation: what is known that matters now."""

from typing import Any

from pydantic import Field

from memory_site.mcp_server.answers import Answer, estimate_tokens, fence, indent, take_texts
from memory_site.mcp_server.arguments import Arguments, MaxTokens, Project, User
from memory_site.mcp_server.tools.hits import (
    DEGRADED,
    Hits,
    describe_hits,
    search_hit,
    to_hit,
)
from memory_site.mcp_server.tools.tool import Call, tool


class Context(Arguments):
    query: str | None = Field(default=None, description="What the conversation is about, if known.")
    session: str | None = Field(default=None, description="The conversation's session, for its last messages.")
    project: Project = None
    user: User = None
    max_tokens: MaxTokens = 1500


class ContextAnswer(Hits):
    preferences: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = Field(default=[], description="The last of the conversation, oldest first.")


@tool("Context", Context, ContextAnswer)
def context(call: Call, given: Context) -> Answer:
    """Use once at the start of a conversation: what is known that matters now. Returns memories, the user's preferences
    and the last messages of the session; with `query`, what matters to that."""
    user, project = call.subject.pick_user(given.user), call.subject.pick_project(given.project)
    session = given.session or call.subject.session
    if given.query is None:
        found = find_important(call, user, project)
    else:
        body = {"query": given.query, "user_id": user, "repo_id": project, "session_id": session}
        found = call.api.call("POST", "get_context", body | {"shared": not call.subject.pinned})
    hits = [search_hit(each) if "memory" in each else to_hit(each) for each in found["memories"]]
    return describe_context(found, hits, given.max_tokens)


def find_important(call: Call, user: str | None, project: str | None) -> dict[str, Any]:
    """Return what matters whatever is talked of: important memories, the newest ones, the user's preferences."""
    filters = {"user_id": user, "repo_id": project, "limit": 8}
    important = call.api.call("GET", "list_memories", query=filters | {"min_importance": 4})["results"]
    newest = call.api.call("GET", "list_memories", query=filters)["results"]
    known = {memory["id"] for memory in important}
    found: dict[str, Any] = {"memories": important + [each for each in newest if each["id"] not in known]}
    if user is not None:
        found["preferences"] = call.api.call("GET", "list_preferences", query={"user_id": user})["results"]
    return found


def describe_context(found: dict[str, Any], hits: list[dict[str, Any]], max_tokens: int) -> Answer:
    """Memories take what the preferences and messages leave, which take a quarter each at most."""
    preferences = [{"key": each["key"], "value": each["value"]} for each in found.get("preferences", [])]
    messages = [{"role": each["role"], "content": each["content"]} for each in found.get("messages", [])]
    preferences, asides = take_texts(preferences, write_preference, max_tokens // 4)
    messages, said = take_texts(messages[::-1], write_message, max_tokens // 4)
    left = max_tokens - estimate_tokens("\n".join(asides + said))
    answer = describe_hits(hits, left, "Nothing is known yet.", "ask for more, or use recall.")
    answer.data |= {"preferences": preferences, "messages": messages[::-1]}
    if asides or said:
        answer.text = "\n\n".join([answer.text, fence(asides + said[::-1])])
    answer.notes += [DEGRADED] if found.get("degraded") else []
    return answer


def write_preference(each: dict[str, Any]) -> str:
    return indent(f"- preference · {each['key']}: {each['value']}")


def write_message(each: dict[str, Any]) -> str:
    return indent(f"- {each['role']}: {each['content']}")
