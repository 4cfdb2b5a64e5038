"""The two clients."""

from types import TracebackType
from typing import Self

from memory_client.async_groups import AsyncGroups
from memory_client.groups import Groups
from memory_client.transport import AsyncTransport, Transport, build_settings

TIMEOUT, CONNECT_TIMEOUT, RETRIES, DEADLINE = 30.0, 5.0, 4, 60.0
#: Far above what an operation answers: a thousand memories of the greatest length are about 100 MB.
MAX_ANSWER_BYTES = 256 * 2**20


class MemoryClient(Groups):
    """A client of Memory Site, for any number of threads.

    `url`: where the site is, or the variable MEMORY_URL, or http://127.0.0.1:8000. `key`: an API key, or the variable
    MEMORY_KEY. `timeout`: seconds to wait for the next bytes of an answer; `connect_timeout`: for a connection.
    `retries`: further attempts of a call when the server is away or busy. `deadline`: seconds for a call with all its
    attempts. `max_answer_bytes`: of an answer that is no file, unpacked; a larger one raises UnexpectedAnswer.

    Raises ValueError for a url or a key that cannot be one. Its methods raise a MemoryClientError.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        retries: int = RETRIES,
        deadline: float = DEADLINE,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        settings = build_settings(url, key, timeout, connect_timeout, retries, deadline, max_answer_bytes)
        super().__init__(Transport(settings))

    def __repr__(self) -> str:
        return f"<MemoryClient of {self.transport.settings.address}>"

    def close(self) -> None:
        """Close the connections. Later calls raise ClientClosed."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncMemoryClient(AsyncGroups):
    """The same with `await`, for one event loop: that of the first call."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        retries: int = RETRIES,
        deadline: float = DEADLINE,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        settings = build_settings(url, key, timeout, connect_timeout, retries, deadline, max_answer_bytes)
        super().__init__(AsyncTransport(settings))

    def __repr__(self) -> str:
        return f"<AsyncMemoryClient of {self.transport.settings.address}>"

    async def close(self) -> None:
        """Close the connections. Later calls raise ClientClosed."""
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
