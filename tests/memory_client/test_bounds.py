"""No server holds a call beyond its deadline, or fills the memory."""

import asyncio
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from memory_client import AsyncMemoryClient, MemoryClient, MemoryClientError, TimedOut, UnexpectedAnswer, transport
from memory_client.network import find_addresses
from tests.memory_client.servers import DRIPPING_SECONDS, Answer, answering, dripping, running

DEADLINE = 0.3
LIMITS = {"timeout": 0.2, "connect_timeout": 0.2, "deadline": DEADLINE}
#: Of a busy machine.
MOST_SECONDS = DRIPPING_SECONDS / 2
OK, JSON = b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n"
Call = Callable[[MemoryClient], object]
Outcome = tuple[float, MemoryClientError]


def read(client):
    return client.request("GET", "/memories")


def write(client):
    return client.request("POST", "/memories", json={"content": "x" * 4_000_000})


def call_sync(url: str, call: Call, end: Callable[[], object] = bool) -> Outcome:
    with MemoryClient(url, "mem_any", **LIMITS) as client:
        begun = time.monotonic()
        with pytest.raises(MemoryClientError) as error:
            call(client)
        end()
        return time.monotonic() - begun, error.value


def call_async(url: str, call: Call, end: Callable[[], object] = bool) -> Outcome:
    async def run() -> Outcome:
        async with AsyncMemoryClient(url, "mem_any", **LIMITS) as client:
            begun = time.monotonic()
            with pytest.raises(MemoryClientError) as error:
                await call(client)
            end()
            return time.monotonic() - begun, error.value

    return asyncio.run(run())


CLIENTS = {"sync": call_sync, "async": call_async}


#: How each server is called, what it sends first, and what then without end.
DRIPPING = {
    "headers": (read, OK, b"X-N: 1\r\n"),
    "a header": (read, OK, b"x"),
    "interim answers": (read, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": (read, OK + JSON + b"Content-Length: 99999\r\n\r\n", b" "),
    "chunks": (read, OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "request": (write, b"", b"", 512),  # it reads slowly
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """All of them at once: each takes as long as its deadline."""
    with ExitStack() as servers, ThreadPoolExecutor(len(DRIPPING) * len(CLIENTS)) as pool:
        calls = {}
        for kind, ask in CLIENTS.items():
            for name, (call, *drops) in DRIPPING.items():
                port = servers.enter_context(dripping(*drops))
                calls[f"{name}, {kind}"] = pool.submit(ask, f"http://127.0.0.1:{port}", call)
        return {name: call.result() for name, call in calls.items()}


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", DRIPPING)
def test_server_that_drips_ends_at_the_deadline(outcomes, name, kind):
    seconds, error = outcomes[f"{name}, {kind}"]
    assert isinstance(error, TimedOut) and seconds < MOST_SECONDS


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("grace", [DRIPPING_SECONDS, -DEADLINE / 2], ids=["own", "cancelled"])
def test_handshake_that_drips_ends_at_the_deadline(monkeypatch, kind, grace):
    """Of TLS, with 16,384 bytes, by the timeouts of httpx2 or before them."""
    monkeypatch.setattr(transport, "GRACE_SECONDS", grace)
    with dripping(b"\x16\x03\x03\x40\x00", b"\0") as port:
        seconds, error = CLIENTS[kind](f"https://127.0.0.1:{port}", read)
    assert isinstance(error, TimedOut) and seconds < MOST_SECONDS


def test_handshake_that_is_cancelled_closes_its_connection():
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            async with AsyncMemoryClient(url, "mem_any", timeout=60, connect_timeout=60) as client, asyncio.timeout(60):
                call = asyncio.create_task(read(client))
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    assert await loop.sock_recv(connection, 1)  # the client speaks first
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                    while await loop.sock_recv(connection, 65_536):
                        pass

    asyncio.run(run())


@pytest.mark.parametrize("kind", CLIENTS)
def test_proxy_that_drips_ends_at_the_deadline(monkeypatch, kind):
    with dripping(b"HTTP/1.1 200 Connected\r\n", b"X-N: 1\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        seconds, error = CLIENTS[kind]("https://site.example", read)
    assert isinstance(error, TimedOut) and seconds < MOST_SECONDS


@pytest.mark.parametrize("kind", CLIENTS)
def test_resolver_that_is_silent_ends_at_the_deadline(monkeypatch, kind):
    resolved = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved.wait(DRIPPING_SECONDS) and [])
    seconds, error = CLIENTS[kind]("http://site.example", read, resolved.set)
    assert isinstance(error, TimedOut) and seconds < MOST_SECONDS


def test_each_address_of_a_name_is_tried(monkeypatch):
    """The first one answers nothing: nothing listens there."""
    look_up = socket.getaddrinfo

    def find(host, *arguments, **options):
        if host != "site.example":
            return look_up(host, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    with running(answering(Answer(200, {"results": []}))) as server:
        client = MemoryClient(server.url.replace("127.0.0.1", "site.example"), "mem_any", retries=0)
        with client:
            assert read(client) == {"results": []}


def test_an_address_of_a_link_names_the_link(monkeypatch):
    """As it is dialled: the same address may be there on each link."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3)), *socket.getaddrinfo("127.0.0.1", 80)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert find_addresses("site.example", 80, 1) == ["fe80::1%3", "127.0.0.1"]


def ask_for(answer: Answer, kind, **limits):
    async def ask(url: str):
        async with AsyncMemoryClient(url, "mem_any", retries=0, **limits) as client:
            return await client.request("GET", "/memories", type=kind)

    with running(answering(answer)) as server:
        with MemoryClient(server.url, "mem_any", retries=0, **limits) as client:
            yield partial(client.request, "GET", "/memories", type=kind)
        yield lambda: asyncio.run(ask(server.url))


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("is_packed", [False, True])
def test_answer_that_is_too_large(status, is_packed):
    body = b"[" + b"0," * 50_000 + b"0]"
    packed = (gzip.compress(body), {"Content-Encoding": "gzip"}) if is_packed else (body,)
    for ask in ask_for(Answer(status, *packed), None, max_answer_bytes=100_000):
        with pytest.raises(UnexpectedAnswer, match="too large: It has more than the 100000 bytes of max_answer"):
            ask()
    if status == 200:
        for ask in ask_for(Answer(status, *packed), None, max_answer_bytes=100_003):
            assert len(ask()) == 50_001


def test_file_may_be_larger_and_what_is_no_file_may_not():
    file = Answer(200, b"x" * 2_000, content_type="text/csv")
    for ask in ask_for(file, bytes, max_answer_bytes=1_000):
        assert len(ask()) == 2_000
    for ask in ask_for(Answer(500, b"x" * 2_000), bytes, max_answer_bytes=1_000):
        with pytest.raises(UnexpectedAnswer, match="too large"):
            ask()


def test_bomb_fills_no_more_than_the_limit():
    bomb = Answer(200, gzip.compress(b" " * 40_000_000, 1), {"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        for ask in ask_for(bomb, None, max_answer_bytes=1_000_000):
            with pytest.raises(UnexpectedAnswer, match="too large"):
                ask()
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
