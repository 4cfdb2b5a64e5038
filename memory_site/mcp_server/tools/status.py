"""The tool that counts what is stored."""

from typing import Any

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer, fence
from memory_site.mcp_server.arguments import Arguments
from memory_site.mcp_server.operations import Refused
from memory_site.mcp_server.tools.tool import Call, tool


class Nothing(Arguments):
    pass


class Status(BaseModel):
    total_memories: int
    by_type: dict[str, int] = {}
    by_user: dict[str, int] = {}
    embedding_backlog: int | None = Field(default=None, description="Memories that only their words find so far.")
    last_update: str | None = None
    user: str | None = None
    relationships: int | None = None
    notes: list[str] = []


@tool("Memory status", Nothing, Status)
def memory_status(call: Call, _: Nothing) -> Answer:
    """Use when the user asks what is stored, or when results look incomplete: totals, and how many memories still wait
    to be found by meaning."""
    pinned = call.subject.user if call.subject.pinned else None
    data = fetch_status(call) if pinned is None else fetch_user_status(call, pinned)
    lines = [f"{name.replace('_', ' ')}: {write_value(value)}" for name, value in data.items()]
    return Answer(fence(lines), data)  # users' names are stored text


def fetch_status(call: Call) -> dict[str, Any]:
    summary = call.api.call("GET", "get_summary")
    names = ("total_memories", "by_type", "by_user", "embedding_backlog", "last_update")
    return {name: summary[name] for name in names if summary[name] is not None}


def fetch_user_status(call: Call, user: str) -> dict[str, Any]:
    """Return the totals of the pinned user alone."""
    try:
        totals = call.api.call("GET", "get_user", user_id=user)
    except Refused as refused:
        if refused.status != 404:
            raise
        totals = {"memories": 0, "relationships": 0, "statistics": None}
    types = (totals["statistics"] or {}).get("types", {})
    return {
        "user": user,
        "total_memories": totals["memories"],
        "relationships": totals["relationships"],
        "by_type": types,
    }


def write_value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return str(value)
