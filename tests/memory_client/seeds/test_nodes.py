"""The earlier node store's names."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

from memory_client import InvalidInput
from memory_client.seeds.nodes import NodeNotFound, PostgresMemoryBackend


def test_nodes_are_stored_read_and_searched(async_client):
    async def use() -> None:
        async with async_client:
            backend, own = PostgresMemoryBackend(async_client), str(uuid4())
            facts = {"content": "Ada likes TEA.", "context_type": "conversation_fact", "tags": ["A", None]}
            assert await backend.store_node(SimpleNamespace(node_id=own, **facts), "ada") == own
            read = await backend.get_node(own, "ada")
            assert (read["node_id"], read["content"], read["tags"]) == (own, "Ada likes TEA.", ["a"])
            assert read["context_type"] == "conversation_fact"
            assert await backend.get_node(own, "ben") is None
            assert await backend.get_node(str(uuid4()), "ada") is None
            assert await backend.get_node("no id", "ada") is None
            other = await backend.store_node({"content": {"count": 3}, "summary": "Three cups of tea."}, "ada")
            assert [each["node_id"] for each in await backend.get_nodes_by_user("ada")] == [other, own]
            assert (await backend.get_node(other, "ada"))["content"] == {"count": 3}
            assert len(await backend.get_nodes_by_user("ada", "temporary_state", limit=5)) == 1
            assert [each["node_id"] for each in await backend.search_nodes("ada", "tea")] == [other, own]
            assert [each["node_id"] for each in await backend.search_nodes("ada", "", ["conversation_fact"])] == [own]
            assert await backend.search_nodes("ben", "tea") == []
            await backend.update_node_access(own, "ada")
            assert (await backend.get_node(own, "ada"))["access_count"] == 1

    asyncio.run(use())


def test_an_entity_is_one_node(async_client):
    async def use() -> None:
        async with async_client:
            backend = PostgresMemoryBackend(async_client)
            ticket = {"entity_id": "A-1", "entity_system": "jira", "entity_type": "ticket"}
            first = await backend.store_node({"content": ticket | {"entity_data": {"open": True, "a": 1}}}, "ada")
            again = await backend.store_node({"content": ticket | {"entity_data": {"open": False}}}, "ada")
            assert again == first
            node = await backend.get_node(first, "ada")
            assert node["content"]["entity_data"] == {"open": False, "a": 1}
            assert (node["entity_id"], node["entity_system"]) == ("A-1", "jira")
            assert await backend.store_node({"content": ticket}, "ben") != first

    asyncio.run(use())


def test_relationships_and_totals(async_client):
    async def use() -> None:
        async with async_client:
            backend = PostgresMemoryBackend(async_client)
            one, two = [await backend.store_node({"content": text}, "ada") for text in ("One.", "Two.")]
            theirs = await backend.store_node({"content": "Three."}, "ben")
            for strength in (0.5, 0.9):
                await backend.store_relationship("ada", one, two, "led_to", strength, {"why": strength})
            [out], [into] = [await backend.get_relationships(each, "ada") for each in (one, two)]
            assert (out["node_id"], out["type"], out["strength"], out["direction"]) == (two, "led_to", 0.9, "out")
            assert (into["node_id"], into["metadata"], into["direction"]) == (one, {"why": 0.9}, "in")
            assert await backend.get_relationships(one, "ben") == []
            with pytest.raises(NodeNotFound):
                await backend.store_relationship("ada", one, theirs, "led_to")
            with pytest.raises(InvalidInput):
                await backend.store_relationship("ada", one, two, "no such type")
            stats = await backend.get_user_stats("ada")
            assert (stats["node_count"], stats["entity_count"], stats["relationship_count"]) == (2, 0, 1)
            assert stats["context_types"] == ["temporary_state"]
            assert stats["earliest_node"] < stats["latest_node"]
            nothing = await backend.get_user_stats("nobody")
            assert (nothing["node_count"], nothing["latest_node"]) == (0, None)
            assert await backend.cleanup_old_nodes("ada") == 0

    asyncio.run(use())
