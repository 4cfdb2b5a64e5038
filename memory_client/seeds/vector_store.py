"""The vector store of the unified memory: texts with embeddings, found by meaning, by words, or by both."""

from collections.abc import Mapping, Sequence
from typing import Any

from memory_client.models import SearchHit
from memory_client.seeds.base import OverClient

SOURCE_SYSTEM, INSIGHTS_SOURCE = "postgresql", "session_buddy"


class PgVectorStore(OverClient):
    """Ids are UUIDs. Methods raise a MemoryClientError."""

    async def store_memory(
        self,
        content: str,
        embedding: Sequence[float] | None = None,
        memory_type: str = "agent",
        source_system: str = SOURCE_SYSTEM,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Store a text; the same text and type is stored once. Return its id.

        `embedding`: 768 numbers of the site's own model; without it the site makes one. agent_id, workflow_id, repo_id,
        user_id and session_id of the metadata become labels too, as they were columns.
        """
        metadata = metadata or {}
        added = await self.client.memories.add(
            content,
            vector=embedding,
            memory_type=memory_type,  # type: ignore[arg-type]  # the site refuses an unknown one by name
            source_system=source_system,
            metadata=metadata,
            **read_labels(metadata),
        )
        return str(added.id)

    async def vector_search(
        self,
        query_embedding: Sequence[float],
        memory_types: Sequence[str] | None = None,
        limit: int = 10,
        threshold: float = 0.7,
    ) -> list[dict[str, Any]]:
        """Return the nearest texts: id, content, memory_type, source_system, metadata, and similarity, the cosine, of
        at least `threshold`; the most similar first."""
        found = await self.client.memories.search(
            vector=query_embedding, mode="vector", limit=limit, threshold=threshold, **given_types(memory_types)
        )
        hits = [describe_hit(hit) for hit in found.results if (hit.similarity or 0) >= threshold]
        return sorted(hits, key=lambda hit: -hit["similarity"])

    async def hybrid_search(
        self, query: str, memory_types: Sequence[str] | None = None, limit: int = 10
    ) -> list[dict[str, Any]]:
        """Return what matches a text by words and by meaning, best first; with `score`, and similarity if known."""
        found = await self.client.memories.search(query, limit=limit, **given_types(memory_types))
        return [describe_hit(hit) for hit in found.results]

    async def unified_search(
        self, query: str, memory_types: Sequence[str] | None = None, limit: int = 10
    ) -> list[dict[str, Any]]:
        """Return the same and half as many insights, each once, with `source`: postgresql or session_buddy."""
        memories = await self.hybrid_search(query, memory_types, limit)
        insights = await self.hybrid_search(query, ["insight"], limit // 2) if limit > 1 else []
        found = {hit["id"]: hit | {"source": SOURCE_SYSTEM} for hit in memories}
        found |= {hit["id"]: hit | {"source": INSIGHTS_SOURCE} for hit in insights}
        return sorted(found.values(), key=lambda hit: -hit["score"])


def read_labels(metadata: Mapping[str, Any]) -> dict[str, Any]:
    names = ("agent_id", "workflow_id", "repo_id", "user_id", "session_id")
    return {name: metadata[name] for name in names if isinstance(metadata.get(name), str)}


def given_types(memory_types: Sequence[str] | None) -> dict[str, Any]:
    """Return the filter; an empty list is none, as it was."""
    return {"memory_types": list(memory_types)} if memory_types else {}


def describe_hit(hit: SearchHit) -> dict[str, Any]:
    memory = hit.memory
    return {
        "id": str(memory.id),
        "content": memory.content,
        "memory_type": memory.memory_type,
        "source_system": memory.source_system,
        "metadata": memory.metadata,
        "similarity": hit.similarity,
        "score": hit.score,
    }
