"""What the classes have in common: a client, which is theirs unless it was given."""

from types import TracebackType
from typing import Self

from memory_client.client import AsyncMemoryClient


class OverClient:
    """Holds an AsyncMemoryClient; without one, the client that MEMORY_URL and MEMORY_KEY describe."""

    def __init__(self, client: AsyncMemoryClient | None = None) -> None:
        self.client = AsyncMemoryClient() if client is None else client
        self._owns_client = client is None

    async def close(self) -> None:
        """Close the client, unless it was given."""
        if self._owns_client:
            await self.client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
