"""The same methods with `await`."""

import asyncio

from memory_client.hybrid import AsyncHybridMemory
from tests.memory_client.hybrid.agents import NOWHERE


def test_every_method_can_be_awaited(path):
    async def run():
        async with AsyncHybridMemory(NOWHERE, "mem_nobody", path=path) as memory:
            stored = await asyncio.gather(
                *(memory.store_persistent_memory("ada", f"Fact {number}.", "business_fact") for number in range(5))
            )
            return set(stored), {hit.node.id for hit in memory.memory.retrieve("ada", "fact")}

    stored, found = asyncio.run(run())
    assert stored == found
    assert len(stored) == 5
