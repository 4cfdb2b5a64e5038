"""The tool that reads one memory in full."""

from typing import Any

from pydantic import BaseModel, Field

from memory_site.mcp_server.answers import Answer, estimate_tokens, fence, indent, shorten
from memory_site.mcp_server.arguments import Arguments, MaxTokens
from memory_site.mcp_server.tools.fields import Id
from memory_site.mcp_server.tools.hits import Hit, to_hit
from memory_site.mcp_server.tools.one_memory import fetch_memory
from memory_site.mcp_server.tools.tool import Call, tool


class GetMemory(Arguments):
    id: Id
    offset: int = Field(default=0, ge=0, description="The character of the content to begin with.")
    max_tokens: MaxTokens = 4000


MORE_FIELDS = ("summary", "data", "metadata", "source_system", "expires_at", "superseded_by")


class FullMemory(BaseModel):
    memory: Hit
    summary: str | None = None
    data: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    source_system: str | None = None
    updated_at: str
    expires_at: str | None = None
    superseded_by: str | None = None
    embedded: bool
    relationships: list[dict[str, Any]] = []
    next_offset: int | None = Field(default=None, description="The `offset` that goes on.")
    notes: list[str] = []


@tool("Get memory", GetMemory, FullMemory)
def get_memory(call: Call, given: GetMemory) -> Answer:
    """Use to read one memory in full, with its metadata and relationships, by an id from recall or list_memories."""
    memory = fetch_memory(call, given.id)
    links = call.api.call("GET", "list_relationships", memory_id=memory["id"])["results"]
    content, next_offset = cut_content(memory["content"], given.offset, given.max_tokens)
    hit = to_hit(memory | {"content": content})
    more = {
        **{name: memory[name] for name in MORE_FIELDS},
        "relationships": [{name: each[name] for name in ("from_id", "type", "to_id", "metadata")} for each in links],
        "next_offset": next_offset,
    }
    data = {"memory": hit, "updated_at": memory["updated_at"], "embedded": memory["embedded"]}
    data |= {name: value for name, value in more.items() if value not in (None, [], {})}
    return describe_memory(data, given.max_tokens)


def cut_content(content: str, offset: int, max_tokens: int) -> tuple[str, int | None]:
    """Return the part of a content that fits, and where the rest begins."""
    part = shorten(content[offset:], max_tokens)
    if part == content[offset:]:
        return part, None
    return part, offset + len(part) - 1  # without the ellipsis


def describe_memory(data: dict[str, Any], max_tokens: int) -> Answer:
    hit = data["memory"]
    notes = []
    if "next_offset" in data:
        notes.append(f"The content is cut: go on with offset {data['next_offset']}.")
    left = max_tokens - estimate_tokens(hit["content"])
    for name in ("data", "metadata", "relationships", "summary"):
        if name in data and (left := left - estimate_tokens(str(data[name]))) < 0:
            del data[name]
            notes.append(f"`{name}` did not fit into max_tokens={max_tokens}.")
    labels = [f"{name}: {data.get(name, hit.get(name))}" for name in SHOWN_FIELDS if name in data or name in hit]
    return Answer(fence([indent(each) for each in (*labels, hit["content"])]), data, notes)


SHOWN_FIELDS = (
    *("id", "memory_type", "state", "created_at", "updated_at", "expires_at", "user", "project", "session", "tags"),
    *("importance", "source_system", "superseded_by", "summary", "data", "metadata", "relationships"),
)
