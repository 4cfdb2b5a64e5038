"""Memories in answers: few fields, the id in the text and in the data of each."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer, fence, indent, take_within

NOTHING_FOUND = "Nothing was found. Try other words, or fewer filters."
ASK_FOR_MORE = "ask for more, or more precisely."
DEGRADED = "The embedder is away: only words were searched, not meaning."


class Hit(BaseModel):
    """A memory."""

    id: str
    content: str
    content_cut: bool = Field(default=False, description="Whether get_memory has more of the content.")
    memory_type: str
    created_at: str
    user: str | None = None
    project: str | None = None
    session: str | None = None
    tags: list[str] = []
    importance: int
    state: str | None = Field(default=None, description="Absent while active.")
    score: float | None = Field(default=None, description="0 to 1, comparable within one answer.")


class Hits(BaseModel):
    results: list[Hit]
    left_out: int = Field(default=0, description="Hits that did not fit into max_tokens.")
    notes: list[str] = []


def to_hit(memory: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return MemoryOut as a Hit, without what is empty."""
    hit = {
        "id": memory["id"],
        "content": memory["content"],
        "memory_type": memory["memory_type"],
        "created_at": memory["created_at"],
        "user": memory["user_id"],
        "project": memory["repo_id"],
        "session": memory["session_id"],
        "tags": memory["tags"],
        "importance": memory["importance"],
        "state": None if memory["state"] == "active" else memory["state"],
        **more,
    }
    return {name: value for name, value in hit.items() if value not in (None, [])}


def search_hit(found: dict[str, Any]) -> dict[str, Any]:
    return to_hit(found["memory"], score=round(found["score"], 4))


def write_line(hit: dict[str, Any]) -> str:
    """Return `- id · day · type · labels · content`."""
    day = datetime.fromisoformat(hit["created_at"]).date().isoformat()
    labels = [f"{name} {hit[name]}" for name in ("user", "project", "session", "state") if name in hit]
    labels += [f"tags {', '.join(hit['tags'])}"] if "tags" in hit else []
    labels += [f"importance {hit['importance']}"] if hit["importance"] != 3 else []
    return indent(" · ".join([f"- {hit['id']}", day, hit["memory_type"], *labels, hit["content"]]))


def describe_hits(hits: list[dict[str, Any]], max_tokens: int, nothing: str, advice: str) -> Answer:
    """Return an answer with the hits that fit, `nothing` if there are none, and `advice` if some are left out."""
    if not hits:
        return Answer(nothing, {"results": []})
    shown, lines = take_within(hits, write_line, max_tokens)
    answer = Answer(fence(lines), {"results": shown})
    if left_out := len(hits) - len(shown):
        answer.data["left_out"] = left_out
        answer.notes.append(f"{left_out} more did not fit into max_tokens={max_tokens}: {advice}")
    if any("content_cut" in hit for hit in shown):
        answer.notes.append("A content that ends with … is cut: get_memory reads it in full.")
    return answer
