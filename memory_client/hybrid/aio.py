"""The hybrid memory with `await`, for programs on an event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from memory_client.hybrid.memory import HybridMemory


class AsyncHybridMemory:
    """Has every method of a HybridMemory, to be awaited: each runs in a thread, because a write waits for the disk.

    `memory` is the HybridMemory itself: its reads take less time than a thread does.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.memory = HybridMemory(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.memory, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **options)

        return call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.memory.close)
