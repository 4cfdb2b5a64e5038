"""A memory as the API reads and writes it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from memory_client.hybrid.nodes import LABELS, Node, SharedFields


def format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def parse_time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


#: The names that are others in the API.
API_NAMES = {"text": "content", "context_type": "memory_type"}


def to_api(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a node as the API names and writes them."""
    named = {API_NAMES.get(name, name): value for name, value in fields.items()}
    if named.get("expires_at") is not None:
        named["expires_at"] = format_time(named["expires_at"])
    return named


#: Fields of a node that a request for a new memory has.
STORED_FIELDS = ("text", "data", "context_type", "user_id", "summary", "tags", "metadata", "importance", "confidence",
                 "base_relevance", *LABELS, "entity", "expires_at")  # fmt: skip


def to_new_memory(node: Node) -> dict[str, Any]:
    """Return MemoryIn of a node, without fields that say nothing."""
    fields = {name: getattr(node, name) for name in STORED_FIELDS}
    return {"id": node.id} | to_api({name: value for name, value in fields.items() if value not in (None, [], {})})


class ServerMemory(SharedFields, kw_only=True):
    """MemoryOut, as far as it is kept here."""

    content: str
    memory_type: str
    source_system: str = "api"
    created_at: str
    updated_at: str
    last_updated: str | None = None
    expires_at: str | None = None
    revision: int

    @property
    def version(self) -> str:
        """The `ETag` of an answer with this memory alone."""
        return f'"{self.revision}"'


def from_api(memory: ServerMemory) -> Node:
    """Return the node of a memory of the server."""
    return Node(
        text=memory.content,
        context_type=memory.memory_type,
        created_at=parse_time(memory.created_at),
        changed_at=parse_time(memory.last_updated or memory.created_at),
        expires_at=parse_time(memory.expires_at) if memory.expires_at else None,
        **{name: getattr(memory, name) for name in SharedFields.__struct_fields__},
    )
