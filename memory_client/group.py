"""What the groups of methods stand on: one request, and lists page by page."""

from collections.abc import Mapping
from typing import Any, TypeVar, overload

from memory_client.calls import build_call
from memory_client.listing import AsyncListing, Listing
from memory_client.transport import AsyncTransport, Transport

Result = TypeVar("Result")


def given(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


class Group:
    """Methods that make requests."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: type[Result],
    ) -> Result: ...

    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: Mapping[int, Any] | None = None,
    ) -> Any: ...

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: Any = None,
    ) -> Any:
        """Call any operation by its path below `/api/v1`, and return its answer decoded as `type`.

        `params`, `headers`: those that are None are left out. `type`: a class or one for each status; `bytes` for a
        file; without it dictionaries and lists. A POST without `idempotency_key` gets one of its own, which its
        retries keep. Values in a path have to be quoted: `calls.fill_path("/users/{*id}", id=user_id)`.
        Raises a MemoryClientError.
        """
        return self.transport.send(build_call(method, path, params, json, headers, idempotency_key), type)

    def list_pages(
        self,
        path: str,
        page: type[Any],
        limit: int | None,
        page_size: int,
        cursor: str | None,
        params: Mapping[str, Any],
    ) -> Listing[Any, Any]:
        return Listing(lambda each: self.request("GET", path, params=each, type=page), params, limit, page_size, cursor)


class AsyncGroup:
    """Methods that make requests."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: type[Result],
    ) -> Result: ...

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: Mapping[int, Any] | None = None,
    ) -> Any: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str | None] | None = None,
        idempotency_key: str | None = None,
        type: Any = None,
    ) -> Any:
        """Call any operation, as `MemoryClient.request` does."""
        return await self.transport.send(build_call(method, path, params, json, headers, idempotency_key), type)

    def list_pages(
        self,
        path: str,
        page: type[Any],
        limit: int | None,
        page_size: int,
        cursor: str | None,
        params: Mapping[str, Any],
    ) -> AsyncListing[Any, Any]:
        async def fetch(each: Mapping[str, Any]) -> Any:
            return await self.request("GET", path, params=each, type=page)

        return AsyncListing(fetch, params, limit, page_size, cursor)
