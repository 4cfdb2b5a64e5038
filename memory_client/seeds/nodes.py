"""The store of memory nodes: what a user's agents keep, with entities and relationships."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from memory_client.errors import NotFound
from memory_client.models import Memory
from memory_client.seeds.base import OverClient

#: The type of a node that names none, as the site calls it too.
DEFAULT_TYPE = "temporary_state"
#: How many of a user's nodes a search reads at most.
MAX_SEARCHED = 10_000


class NodeNotFound(LookupError):
    """The user has no node with this id."""


class PostgresMemoryBackend(OverClient):
    """Nodes are dictionaries, or objects with attributes of the same names: content (a text or a dictionary),
    context_type, summary, tags, base_relevance, created_at and, if it should be kept, node_id.

    Methods raise a MemoryClientError.
    """

    async def store_node(self, node: Any, user_id: str) -> str:
        """Store a node and return its id. One whose content names an entity_id and an entity_system is merged into the
        node of this entity, which keeps its id."""
        read = node.get if isinstance(node, Mapping) else lambda name: getattr(node, name, None)
        content = read("content")
        given = {name: read(name) for name in ("summary", "base_relevance", "created_at")}
        fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        entity = read_entity(content)
        node_id = parse_id(read("node_id"))
        if node_id is not None and entity is None:
            fields["id"] = node_id
        added = await self.client.memories.add(
            write_text(content, read("summary")),
            user_id=user_id,
            memory_type=str(getattr(kind := read("context_type") or DEFAULT_TYPE, "value", kind)),  # type: ignore[arg-type]
            tags=list(dict.fromkeys(tag.lower() for tag in read("tags") or () if tag)),
            data=content if isinstance(content, Mapping) else None,
            entity=entity,  # type: ignore[arg-type]
            source_system="nodes",
            **fields,
        )
        return str(added.id)

    async def get_node(self, node_id: str, user_id: str) -> dict[str, Any] | None:
        """Return a node of the user, or None."""
        if (pk := parse_id(node_id)) is None:
            return None
        try:
            memory = await self.client.memories.get(pk)
        except NotFound:
            return None
        return describe_node(memory) if memory.user_id == user_id else None

    async def get_nodes_by_user(
        self, user_id: str, context_filter: Sequence[str] | str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the user's nodes, of these types if any are named, newest first."""
        found = self.client.memories.list(user_id=user_id, limit=limit, **given_types(context_filter))
        return [describe_node(memory) async for memory in found]

    async def store_relationship(
        self,
        user_id: str,
        from_node_id: str,
        to_node_id: str,
        relationship_type: str,
        strength: float = 1.0,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a relationship between two nodes of the user, or replace its strength and metadata. Raises
        NodeNotFound."""
        for node_id in (from_node_id, to_node_id):
            if await self.get_node(node_id, user_id) is None:
                raise NodeNotFound(node_id)
        await self.client.graph.relate(
            from_node_id,
            to_node_id,
            type=relationship_type,  # type: ignore[arg-type]  # the site refuses an unknown one by name
            strength=strength,
            metadata=dict(metadata or {}),
        )

    async def get_relationships(self, node_id: str, user_id: str) -> list[dict[str, Any]]:
        """Return the relationships of a node in both directions: node_id of the other one, type, strength, metadata,
        and direction, out or in."""
        if await self.get_node(node_id, user_id) is None:
            return []
        pk = UUID(str(node_id))
        return [
            {
                "node_id": str(each.to_id if each.from_id == pk else each.from_id),
                "type": each.type,
                "strength": each.strength,
                "metadata": each.metadata,
                "direction": "out" if each.from_id == pk else "in",
            }
            async for each in self.client.graph.relationships(pk)
        ]

    async def search_nodes(
        self, user_id: str, query: str, context_filter: Sequence[str] | str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Return nodes whose summary or content contains the text, in any case: first by their summary, then newest."""
        wanted = query.lower()
        nodes = await self.get_nodes_by_user(user_id, context_filter, MAX_SEARCHED)
        by_summary = [node for node in nodes if wanted in (node["summary"] or "").lower()]
        known = {node["node_id"] for node in by_summary}
        by_content = [node for node in nodes if node["node_id"] not in known and wanted in to_text(node["content"])]
        return (by_summary + by_content)[:limit]

    async def update_node_access(self, node_id: str, user_id: str) -> None:
        """Count one use of the node."""
        if await self.get_node(node_id, user_id) is not None:
            await self.client.memories.recall_one(node_id)

    async def get_user_stats(self, user_id: str) -> dict[str, Any]:
        """Return user_id, node_count, entity_count, relationship_count, context_types, latest_node, earliest_node."""
        newest = [each async for each in self.client.memories.list(user_id=user_id)]
        try:
            relationships = (await self.client.users.get(user_id)).relationships
        except NotFound:
            relationships = 0
        return {
            "user_id": user_id,
            "node_count": len(newest),
            "entity_count": sum(each.entity is not None for each in newest),
            "relationship_count": relationships,
            "context_types": sorted({each.memory_type for each in newest}),
            "latest_node": format_time(newest[0].created_at) if newest else None,
            "earliest_node": format_time(newest[-1].created_at) if newest else None,
        }

    async def cleanup_old_nodes(self, user_id: str, days: float = 30) -> int:
        """Delete the user's nodes that were not stored again for so many days, but for those with the tags `important`
        or `preserve`. Return how many."""
        return (await self.client.users.forget(user_id, days * 24)).deleted


def read_entity(content: Any) -> dict[str, Any] | None:
    if not isinstance(content, Mapping) or not (content.get("entity_id") and content.get("entity_system")):
        return None
    entity = {"system": str(content["entity_system"]), "id": str(content["entity_id"])}
    others = {"type": content.get("entity_type"), "name": content.get("entity_name") or content.get("name")}
    return entity | {name: str(value) for name, value in others.items() if value}


def parse_id(node_id: object) -> UUID | None:
    """Return the id if it can be that of a memory."""
    try:
        return UUID(str(node_id))
    except ValueError:
        return None


def write_text(content: Any, summary: str | None) -> str:
    """Return what a node says: its text, or the summary of a dictionary, or that as JSON."""
    if isinstance(content, str):
        return content
    return summary or json.dumps(content, ensure_ascii=False, default=str)


def to_text(content: Any) -> str:
    return (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)).lower()


def describe_node(memory: Memory) -> dict[str, Any]:
    return {
        "node_id": str(memory.id),
        "content": memory.content if memory.data is None else memory.data,
        "context_type": memory.memory_type,
        "summary": memory.summary,
        "tags": memory.tags,
        "base_relevance": memory.base_relevance,
        "created_at": format_time(memory.created_at),
        "last_accessed": format_time(memory.last_accessed_at),
        "access_count": memory.access_count,
        "entity_id": memory.entity.id if memory.entity else None,
        "entity_system": memory.entity.system if memory.entity else None,
    }


def format_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def given_types(context_filter: Sequence[str] | str | None) -> dict[str, Any]:
    if not context_filter:
        return {}
    kinds = [context_filter] if isinstance(context_filter, str) else context_filter
    return {"memory_types": [str(getattr(kind, "value", kind)) for kind in kinds]}
