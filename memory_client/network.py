"""The networks of the two clients.

In that of the synchronous one every wait ends with the call's deadline. A timeout of a read starts again with each
byte, and the lookup of a name has none: a server that sends a line of its headers now and then would hold a thread for
ever. asyncio has its own timeouts for all of that, which cancel: the network of the asynchronous client closes what
httpx2 leaves open then.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from threading import Thread
from time import monotonic
from typing import Any

import httpcore2
import httpx2

#: When the call of this thread ends, by `time.monotonic()`.
ENDS_AT: ContextVar[float] = ContextVar("ENDS_AT", default=inf)
#: Of one write, so that a server that reads slowly is noticed.
PART_BYTES = 16_384


@contextmanager
def ending_at(moment: float) -> Iterator[None]:
    """Make every wait in this block end at the moment, with a timeout of httpx2."""
    token = ENDS_AT.set(moment)
    try:
        yield
    finally:
        ENDS_AT.reset(token)


def limit_wait(timeout: float | None, error: type[Exception]) -> float:
    """Return the seconds that may be waited. Raises the error when there are none left."""
    left = ENDS_AT.get() - monotonic()
    if left <= 0:
        raise error("deadline")
    return left if timeout is None else min(timeout, left)


def use_deadlines(http: httpx2.Client) -> httpx2.Client:
    """Make this client's connections, with proxies and without, end their waits with `ending_at`."""
    set_network(http, DeadlineBackend())
    return http


def close_cancelled(http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Make this client close a connection whose TLS handshake is cancelled."""
    set_network(http, ClosingBackend())
    return http


def set_network(http: httpx2.Client | httpx2.AsyncClient, network: object) -> None:
    for transport in (http._transport, *http._mounts.values()):
        if transport is not None:
            # httpx2 has no argument for the network of its pool, and its pools no method to change it.
            transport._pool._network_backend = network


class DeadlineBackend(httpcore2.SyncBackend):
    """Opens connections. Each address of a name is tried in turn."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        for address in find_addresses(host, port, limit_wait(timeout, httpcore2.ConnectTimeout)):
            seconds = limit_wait(timeout, httpcore2.ConnectTimeout)
            try:
                return DeadlineStream(super().connect_tcp(address, port, seconds, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class DeadlineStream(httpcore2.NetworkStream):
    """A connection, encrypted or not."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self.stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, limit_wait(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PART_BYTES):
            seconds = limit_wait(timeout, httpcore2.WriteTimeout)
            self.stream.write(buffer[start : start + PART_BYTES], seconds)

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        seconds = limit_wait(timeout, httpcore2.ConnectTimeout)
        return DeadlineStream(self.stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class ClosingBackend(httpcore2.AnyIOBackend):
    """Opens connections of an event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return ClosingStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class ClosingStream(httpcore2.AsyncNetworkStream):
    """A connection, encrypted or not."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self.stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self.stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self.stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return ClosingStream(await self.stream.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:  # after any other error httpcore2 has closed it
            await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def find_addresses(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a name in the resolver's order. The thread of a lookup that is given up ends with it."""
    answer: Future[list[str]] = Future()
    thread = Thread(target=look_up, args=(host, port, answer), name="memory_client lookup", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no new thread while the interpreter ends
        look_up(host, port, answer)
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout("lookup") from error
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError("lookup") from error


def look_up(host: str, port: int, answer: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer.set_result(list(dict.fromkeys(name_address(*address) for *_, address in found)))
    except (OSError, UnicodeError) as error:
        answer.set_exception(error)


def name_address(host: str | int, port: str | int, flow: int = 0, scope: int = 0) -> str:
    """Return an address as it is dialled: an IPv6 one of a link names the link."""
    return f"{host}%{scope}" if scope else str(host)
