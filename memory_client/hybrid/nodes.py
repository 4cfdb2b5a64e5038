"""A memory as the agent's process sees it."""

from typing import Any

import msgspec

RELATIONSHIP_TYPES = frozenset(
    ("led_to", "relates_to", "depends_on", "produces", "belongs_to", "contradicts", "refines", "answers")
)
FALLBACK_RELATIONSHIP_TYPE = "relates_to"
LABELS = ("source_system", "agent_id", "workflow_id", "repo_id", "session_id")


class Entity(msgspec.Struct, frozen=True):
    """The record of another system that a memory describes."""

    system: str
    id: str
    type: str | None = None
    name: str | None = None


class SharedFields(msgspec.Struct, kw_only=True):
    """What a node and a memory of the server have under the same name."""

    id: str
    data: dict[str, Any] | None = None
    user_id: str | None = None
    summary: str | None = None
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    importance: int = 3
    confidence: float = 1.0
    base_relevance: float = 1.0
    source_system: str
    agent_id: str | None = None
    workflow_id: str | None = None
    repo_id: str | None = None
    session_id: str | None = None
    entity: Entity | None = None


class Node(SharedFields, kw_only=True):
    """A memory. Times are seconds since 1970. The server's copy has the same id.

    text: what the server searches. data: the object that was given as content, if it was one. thread_id or user_id says
    whose it is.
    """

    text: str
    context_type: str
    thread_id: str | None = None
    source_system: str = "hybrid"
    created_at: float
    changed_at: float
    expires_at: float | None = None

    @property
    def content(self) -> str | dict[str, Any]:
        """What was stored: the object, or else the text."""
        return self.text if self.data is None else self.data


encode = msgspec.json.Encoder().encode
decode_node = msgspec.json.Decoder(Node).decode


def merge_data(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any] | None:
    """Merge an entity's objects as the server does: field by field, and the object `entity_data` field by field too."""
    if not old or not new:
        return new or old
    merged = old | new
    if isinstance(old.get("entity_data"), dict) and isinstance(new.get("entity_data"), dict):
        merged["entity_data"] = old["entity_data"] | new["entity_data"]
    return merged
