"""The earlier session memory's names: its results, and that it never breaks its caller."""

import asyncio
from datetime import UTC, datetime, timedelta

from memory_client import AsyncMemoryClient
from memory_client.seeds.sessions import MemoryManagerPostgres

AWAY = "http://127.0.0.1:9"


def test_session_is_kept_read_counted_and_cleared(async_client):
    async def use() -> None:
        async with async_client, MemoryManagerPostgres(async_client) as memory:
            assert await memory.get_context("monday") == []
            for number in range(3):
                assert await memory.add_to_memory("monday", f"Question {number}?", f"Answer {number}.") is True
            newest, *others = await memory.get_context("monday", limit=2)
            assert (newest["query"], newest["answer"], len(others)) == ("Question 2?", "Answer 2.", 1)
            assert datetime.fromisoformat(newest["timestamp"]).tzinfo is not None
            stats = await memory.get_session_stats("monday")
            assert (stats["exists"], stats["history_length"]) == (True, 3)
            assert stats["last_updated"] >= newest["timestamp"]
            assert [each["session_id"] for each in await memory.get_all_sessions()] == ["monday"]
            assert (await memory.health_check())["recent_sessions"] == 1
            assert await memory.clear_memory("monday") is True
            assert await memory.clear_memory("monday") is False
            unknown = {"session_id": "monday", "exists": False, "history_length": 0, "last_updated": None}
            assert await memory.get_session_stats("monday") == unknown

    asyncio.run(use())


def test_an_interaction_expires_by_its_own_time(async_client):
    async def use() -> None:
        async with async_client:
            memory = MemoryManagerPostgres(async_client, default_ttl_hours=2)
            await memory.add_to_memory("monday", "Now?", "Now.")
            await memory.add_to_memory("monday", "Then?", "Then.", timestamp=datetime.now(UTC) - timedelta(hours=3))
            assert [each["query"] for each in await memory.get_context("monday")] == ["Now?"]
            assert await memory.cleanup_expired_sessions() == 0
            assert await memory.get_context("monday", limit=0) == []

    asyncio.run(use())


def test_memory_that_is_away_or_refuses_never_raises(async_client):
    async def use() -> None:
        async with async_client:
            memory, bad = MemoryManagerPostgres(async_client), "s" * 300
            assert await memory.add_to_memory(bad, "Q?", "A.") is False
            assert await memory.get_context(bad) == []
            assert await memory.clear_memory(bad) is False
            assert "error" in await memory.get_session_stats(bad)

    async def use_away() -> None:
        async with AsyncMemoryClient(AWAY, "mem_x", retries=0) as client:
            memory = MemoryManagerPostgres(client)
            assert await memory.add_to_memory("s", "Q?", "A.") is False
            assert (await memory.get_context("s"), await memory.get_all_sessions()) == ([], [])
            assert await memory.cleanup_expired_sessions() == 0
            assert (await memory.health_check())["status"] == "unhealthy"

    asyncio.run(use())
    asyncio.run(use_away())
