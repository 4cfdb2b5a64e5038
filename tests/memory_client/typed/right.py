"""What type checkers know of the clients: every line is right, and mypy says so."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_type
from uuid import UUID

from memory_client import AsyncMemoryClient, MemoryClient
from memory_client.listing import AsyncListing, Listing
from memory_client.models import (
    AddedMemories,
    AddedMemory,
    Job,
    JobPreview,
    Memory,
    MemoryPage,
    RecallResult,
    SearchResult,
    User,
)


def use(client: MemoryClient) -> None:
    added = client.memories.add("Ada likes tea.", user_id="ada", tags=["drinks"], expires_at=datetime.now())
    assert_type(added, AddedMemory)
    assert_type(added.id, UUID)
    assert_type(added.expires_at, datetime | None)
    assert_type(client.memories.add_many([{"content": "Ada.", "importance": 3}]), AddedMemories)
    assert_type(client.memories.get(added.id), Memory)
    assert_type(client.memories.delete(added.id), None)
    assert_type(client.memories.list(user_id="ada", limit=3), Listing[Memory, MemoryPage])
    assert_type(list(client.memories.list()), list[Memory])
    assert_type(client.memories.list().pages(), Iterator[MemoryPage])
    assert_type(client.memories.search("tea", mode="text", memory_types=["agent"]), SearchResult)
    assert_type(client.memories.recall("tea").results[0].relevance, float)
    assert_type(client.jobs.start("delete", user_id="ada"), JobPreview | Job)
    assert_type(client.jobs.download(added.id), bytes)
    assert_type(client.request("GET", "/users/ada", type=User), User)


async def use_asynchronously(client: AsyncMemoryClient) -> None:
    added = await client.memories.add("Ada likes tea.", user_id="ada")
    assert_type(added, AddedMemory)
    assert_type(await client.memories.delete(added.id), None)
    assert_type(client.memories.list(), AsyncListing[Memory, MemoryPage])
    assert_type([each async for each in client.memories.list()], list[Memory])
    assert_type(await client.memories.recall("tea"), RecallResult)
    assert_type(await client.request("GET", "/users/ada", type=User), User)
