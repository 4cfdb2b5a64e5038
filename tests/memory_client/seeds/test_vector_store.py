"""The earlier vector store's names."""

import asyncio

import pytest

from memory_client import InvalidInput
from memory_client.seeds.vector_store import PgVectorStore

EAST, NORTH = [1.0] + [0.0] * 767, [0.0, 1.0] + [0.0] * 766
NORTH_EAST = [1.0, 1.0] + [0.0] * 766


def test_vector_search_finds_what_is_near(async_client):
    async def use() -> None:
        async with async_client:
            store = PgVectorStore(async_client)
            east = await store.store_memory("East.", EAST, "agent", "agno", {"agent_id": "planner", "n": 1})
            assert await store.store_memory("East.", EAST, "agent", "agno", {"n": 1}) == east
            await store.store_memory("North.", NORTH, "rag", "llamaindex")
            [hit] = await store.vector_search(EAST)
            assert (hit["id"], hit["memory_type"], hit["source_system"]) == (east, "agent", "agno")
            assert (hit["metadata"], round(hit["similarity"], 2)) == ({"agent_id": "planner", "n": 1}, 1.0)
            both = await store.vector_search(NORTH_EAST, threshold=0.5)
            assert [round(hit["similarity"], 2) for hit in both] == [0.71, 0.71]
            assert len(await store.vector_search(NORTH_EAST, limit=1, threshold=0.5)) == 1
            [rag] = await store.vector_search(NORTH_EAST, ["rag"], threshold=0.5)
            assert rag["content"] == "North."
            assert [each.agent_id async for each in async_client.memories.list(agent_id="planner")] == ["planner"]
            with pytest.raises(InvalidInput) as refused:
                await store.store_memory("Short.", [1.0])
            assert refused.value.errors[0].field.startswith("vector")
            with pytest.raises(InvalidInput):
                await store.store_memory("Typed.", EAST, "no such type")

    asyncio.run(use())


def test_hybrid_and_unified_search(async_client):
    async def use() -> None:
        async with async_client:
            store = PgVectorStore(async_client)
            memory = await store.store_memory("The kumquat tree needs water.", memory_type="agent")
            insight = "A kumquat needs water at noon because the sun is strongest then, so water it in the morning."
            lesson = await store.store_memory(insight, memory_type="insight")
            assert {hit["id"] for hit in await store.hybrid_search("kumquat")} == {memory, lesson}
            assert [hit["id"] for hit in await store.hybrid_search("kumquat", ["agent"])] == [memory]
            found = {hit["id"]: hit["source"] for hit in await store.unified_search("kumquat", ["agent"])}
            assert found == {memory: "postgresql", lesson: "session_buddy"}
            assert len(await store.unified_search("kumquat", limit=1)) == 1

    asyncio.run(use())
