"""The only module that speaks HTTP. The two transports differ in `await` alone; what they decide stands elsewhere."""

import asyncio
import logging
import os
import ssl
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from memory_client.answers import Answer, Body, ResultType, read_result
from memory_client.calls import Call, find_address, find_key, reject_input
from memory_client.errors import ClientClosed, ConnectionFailed, MemoryClientError, NotFound, TimedOut, WrongEventLoop
from memory_client.network import close_cancelled, ending_at, use_deadlines
from memory_client.retries import Attempts
from memory_client.version import __version__

log = logging.getLogger("memory_client")
#: The server has not read the request.
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

#: httpx2's own timeouts come first: they know whether the server has read the request.
GRACE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how: `timeout` of one wait, `connect_timeout` of a connection, `deadline` of a whole call with its
    retries, all in seconds; `max_answer_bytes` of an answer, unpacked, that is no file."""

    address: str
    headers: dict[str, str]
    timeout: float
    connect_timeout: float
    retries: int
    deadline: float
    max_answer_bytes: int

    def __repr__(self) -> str:
        return f"<Settings of {self.address}>"  # never the headers: the key is in them

    def limit(self, seconds: float) -> httpx2.Timeout:
        return httpx2.Timeout(min(self.timeout, seconds), connect=min(self.connect_timeout, seconds))

    def begin(self, call: Call) -> Attempts:
        return Attempts(self.retries, self.deadline, call.is_repeatable)

    def start_body(self, response: httpx2.Response, kind: ResultType) -> Body:
        is_file = kind is bytes and response.is_success
        return Body(response.status_code, None if is_file else self.max_answer_bytes)


def build_settings(
    url: str | None,
    key: str | None,
    timeout: float,
    connect_timeout: float,
    retries: int,
    deadline: float,
    max_answer_bytes: int,
) -> Settings:
    """Raise ValueError for an address or a key that cannot be one."""
    agent = {"User-Agent": f"memory-site-client/{__version__}", "Accept": "application/json"}
    headers = {"Authorization": f"Bearer {find_key(key)}"} | agent
    return Settings(find_address(url), headers, timeout, connect_timeout, retries, deadline, max_answer_bytes)


def explain(error: Exception, call: Call, settings: Settings) -> ConnectionFailed:
    """Return the client's own exception. The library's text may have bytes of the request in it and is left out."""
    timed_out = isinstance(error, httpx2.TimeoutException | TimeoutError)
    kind, when = (TimedOut, " in time") if timed_out else (ConnectionFailed, "")
    text = f"{settings.address} gave no answer{when} ({type(error).__name__}, {call})."
    return kind(text, may_have_happened=not isinstance(error, NOT_SENT))


def find_delay(call: Call, attempts: Attempts, error: MemoryClientError) -> float | None:
    delay = attempts.find_delay(error)
    if delay is not None:
        log.info("%s: %s; attempt %d in %.1f s", call, type(error).__name__, attempts.made + 1, delay)
    return delay


def is_done(call: Call, kind: ResultType, attempts: Attempts, error: MemoryClientError) -> bool:
    """Return whether something is gone because an earlier attempt, whose answer was lost, deleted it."""
    return kind is None and call.method == "DELETE" and attempts.is_uncertain and isinstance(error, NotFound)


class Transport:
    """Sends calls from any thread. A forked process gets connections of its own: answers would reach the wrong one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_closed = False
        self.connect()

    def connect(self) -> None:
        http = httpx2.Client(headers=self.settings.headers, verify=build_ssl(self.settings.address))
        self.http = use_deadlines(http)
        self.process = os.getpid()  # last: until then other threads of a forked process make their own connections

    def send(self, call: Call, kind: ResultType = None) -> Any:
        attempts = self.settings.begin(call)
        while True:
            try:
                return read_result(self.try_once(call, attempts, kind), kind, call.method)
            except MemoryClientError as error:
                if is_done(call, kind, attempts, error):
                    return None
                if (delay := find_delay(call, attempts, error)) is None:
                    raise
            time.sleep(delay)

    def try_once(self, call: Call, attempts: Attempts, kind: ResultType) -> Answer:
        if self.is_closed:
            raise ClientClosed("This client is closed.")
        if self.process != os.getpid():
            self.connect()
        try:
            with (
                ending_at(attempts.ends_at),
                self.http.stream(
                    call.method,
                    self.settings.address + call.path,
                    headers=call.headers,
                    content=call.content,
                    timeout=self.settings.limit(attempts.remaining),
                ) as response,
            ):
                body = self.settings.start_body(response, kind)
                for part in response.iter_bytes():
                    body.add(part)
        except httpx2.InvalidURL as error:
            raise reject_input("path", f"cannot be sent: {error}") from error
        except httpx2.RequestError as error:
            raise explain(error, call, self.settings) from error
        return Answer(str(response.url), response.status_code, response.headers, body.content)

    def close(self) -> None:
        self.is_closed = True
        if self.process == os.getpid():
            self.http.close()


class AsyncTransport:
    """Sends calls from one event loop, that of the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_closed = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.http = close_cancelled(httpx2.AsyncClient(headers=settings.headers, verify=build_ssl(settings.address)))

    async def send(self, call: Call, kind: ResultType = None) -> Any:
        attempts = self.settings.begin(call)
        while True:
            try:
                return read_result(await self.try_once(call, attempts, kind), kind, call.method)
            except MemoryClientError as error:
                if is_done(call, kind, attempts, error):
                    return None
                if (delay := find_delay(call, attempts, error)) is None:
                    raise
            await asyncio.sleep(delay)

    async def try_once(self, call: Call, attempts: Attempts, kind: ResultType) -> Answer:
        self.check_loop()
        try:
            async with (
                asyncio.timeout(attempts.remaining + GRACE_SECONDS),
                self.http.stream(
                    call.method,
                    self.settings.address + call.path,
                    headers=call.headers,
                    content=call.content,
                    timeout=self.settings.limit(attempts.remaining),
                ) as response,
            ):
                body = self.settings.start_body(response, kind)
                async for part in response.aiter_bytes():
                    body.add(part)
        except httpx2.InvalidURL as error:
            raise reject_input("path", f"cannot be sent: {error}") from error
        except (httpx2.RequestError, TimeoutError) as error:
            raise explain(error, call, self.settings) from error
        return Answer(str(response.url), response.status_code, response.headers, body.content)

    def check_loop(self) -> None:
        if self.is_closed:
            raise ClientClosed("This client is closed.")
        loop = asyncio.get_running_loop()
        self.loop = self.loop or loop
        if loop is not self.loop:
            raise WrongEventLoop("This client belongs to another event loop. Make a client for each loop.")

    async def close(self) -> None:
        self.is_closed = True
        await self.http.aclose()


def build_ssl(address: str) -> ssl.SSLContext | bool:
    """Return what verifies the server's certificate: nothing, for an address without one."""
    return httpx2.create_ssl_context() if address.startswith("https:") else False
