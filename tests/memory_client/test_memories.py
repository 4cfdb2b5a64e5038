"""Memories through both clients."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from memory_client import (
    AsyncMemoryClient,
    InvalidInput,
    MemoryClient,
    NotAuthenticated,
    NotFound,
    NotModified,
    PreconditionFailed,
)
from memory_client.models import AddedMemory, Memory


def test_memory_is_stored_found_changed_and_deleted(client):
    added = client.memories.add("Ada likes tea.", user_id="ada", tags=["drinks"], expires_at=None)
    assert isinstance(added, AddedMemory) and added.created and isinstance(added.id, UUID)
    assert added.created_at.tzinfo is not None and added.tags == ["drinks"]
    memory = client.memories.get(added.id)
    assert isinstance(memory, Memory) and memory.content == "Ada likes tea." and memory.user_id == "ada"
    found = client.memories.search("tea", mode="text", user_id="ada")
    assert [hit.memory.id for hit in found.results] == [added.id]
    changed = client.memories.update(added.id, content="Ada likes coffee.", user_id="ada", summary=None)
    assert changed.content == "Ada likes coffee."
    assert client.memories.delete(added.id) is None
    with pytest.raises(NotFound) as error:
        client.memories.get(added.id)
    assert error.value.status == 404 and error.value.request_id


def test_asynchronous_client_does_the_same(async_client):
    async def use(client: AsyncMemoryClient) -> None:
        async with client:
            added = await client.memories.add("Ada likes tea.", user_id="ada")
            assert (await client.memories.get(added.id)).content == "Ada likes tea."
            assert [each.id async for each in client.memories.list(user_id="ada")] == [added.id]
            found = await client.memories.search("tea", mode="text")
            assert [hit.memory.id for hit in found.results] == [added.id]
            await client.memories.delete(added.id)
            with pytest.raises(NotFound):
                await client.memories.get(added.id)

    asyncio.run(use(async_client))


def test_none_clears_a_field_of_an_update_and_is_nothing_elsewhere(client):
    added = client.memories.add("Ada likes tea.", user_id=None, summary="Tea.")
    assert added.summary == "Tea."
    assert client.memories.update(added.id, summary=None).summary is None
    assert len(list(client.memories.list(user_id=None, important=False, tags=None))) == 1
    assert list(client.memories.list(important=True)) == []


def test_filters_of_every_kind_reach_the_server(client):
    client.memories.add("First.", metadata={"kind": "a/b"}, importance=5)
    second = client.memories.add("Second.", tags=["x", "y"])
    yesterday = datetime.now(UTC) - timedelta(days=1)
    list_all = client.memories.list
    assert [each.content for each in list_all(metadata={"kind": "a/b"})] == ["First."]
    assert [each.content for each in list_all(tags=["x", "y"], created_after=yesterday)] == ["Second."]
    assert [each.content for each in list_all(ids=[second.id, uuid4()], states=["active"])] == ["Second."]
    assert list(list_all(created_before=yesterday)) == []
    with pytest.raises(InvalidInput) as error:
        client.memories.search("x", colour="red")  # type: ignore[call-arg]  # no filter of ours
    assert error.value.field == "filters.colour"


def test_many_are_added_and_deleted(client):
    added = client.memories.add_many([{"content": f"Fact {number}."} for number in range(5)])
    assert added.created == 5 and len(added.ids) == 5
    assert client.memories.delete_matching(ids=added.ids[:2], dry_run=True).matched == 2
    assert client.memories.delete_matching(ids=added.ids[:2]).deleted == 2
    assert len(list(client.memories.list())) == 3
    with pytest.raises(InvalidInput) as error:
        client.memories.delete_matching()
    assert error.value.field == "filters"


def test_recall_counts_an_access(client):
    added = client.memories.add("Ada likes tea.")
    assert client.memories.recall("tea", mode="text").results[0].relevance > 0
    assert client.memories.recall_one(added.id).id == added.id


def test_invalid_input_names_its_field(client):
    with pytest.raises(InvalidInput) as error:
        client.memories.add("Ada likes tea.", expires_at=datetime(2100, 1, 1))  # has no offset
    assert error.value.field == "expires_at" and "expires_at" in str(error.value)
    with pytest.raises(InvalidInput) as error:
        list(client.memories.list(created_after=datetime(2026, 1, 1)))
    assert error.value.field == "created_after"


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()], ids=["not a number", "surrogate", "object"])
def test_what_json_cannot_say_is_not_sent(value):
    with MemoryClient("http://127.0.0.1:1", "mem_any") as client, pytest.raises(InvalidInput) as error:
        client.memories.add("Ada likes tea.", metadata={"value": value})
    assert error.value.status == 0 and error.value.field == "body"


def test_wrong_key(live_server):
    with MemoryClient(live_server.url, "mem_wrong") as client, pytest.raises(NotAuthenticated) as error:
        client.memories.get(uuid4())
    assert "mem_wrong" not in str(error.value)


def test_any_operation_by_its_path(client):
    added = client.request("POST", "/memories", json={"content": "Ada likes tea."})
    assert added["created"] is True
    assert client.request("GET", f"/memories/{added['id']}", type=Memory).content == "Ada likes tea."
    assert client.request("GET", "/memories", params={"limit": 1, "user_id": None})["next"] is None
    assert client.request("GET", f"/api/v1/memories/{added['id']}")["id"] == added["id"]


def test_memories_under_keys(client):
    first = client.memories.put("notes/a b.md", "One.", user_id="ada")
    again = client.memories.put("notes/a b.md", "Two.", user_id="ada", tags=["x"])
    assert first.created and not again.created and first.id == again.id and again.key == "notes/a b.md"
    assert client.memories.get_by_key("notes/a b.md", user_id="ada").tags == ["x"]
    with pytest.raises(NotFound):
        client.memories.get_by_key("notes/a b.md")
    assert [each.id for each in client.memories.list(key_prefix="notes/")] == [first.id]
    client.memories.delete_by_key("notes/a b.md", user_id="ada")
    assert list(client.memories.list()) == []


def test_change_of_another_is_not_overwritten(client):
    added = client.memories.add("Ada likes tea.")
    read = client.memories.get(added.id)
    assert read.etag and read.etag == added.etag
    changed = client.memories.update(added.id, if_match=read.etag, content="Ada likes coffee.")
    assert changed.etag != read.etag
    with pytest.raises(PreconditionFailed):
        client.memories.update(added.id, if_match=read.etag, content="Ada likes water.")
    with pytest.raises(NotModified):
        client.memories.get(added.id, if_none_match=changed.etag)
    with pytest.raises(PreconditionFailed):
        client.memories.delete(added.id, if_match=read.etag)
    client.memories.delete(added.id, if_match=changed.etag)
    client.memories.put("style", "One.", if_none_match="*")
    with pytest.raises(PreconditionFailed):
        client.memories.put("style", "Two.", if_none_match="*")
