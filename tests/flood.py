"""Many clients at once, each on a connection of its own, which come back when a refusal tells them to."""

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ANSWER_TIMEOUT_SECONDS = 60
#: The request of a client's turn, as bytes.
MakeRequest = Callable[[int], bytes]


@dataclass
class Answers:
    """What clients got: how often each status, seconds until each answer, and errors that are no answers.

    `served_at` and `until`, the end, are moments of the monotonic clock."""

    statuses: Counter = field(default_factory=Counter)
    served_seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)
    errors: Counter = field(default_factory=Counter)
    connections: int = 0
    until: float = 0.0
    served_at: list[float] = field(default_factory=list)


def build_request(method: str, path: str, token: str, body: object = None) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


def run_flood(port: int, clients: Iterable[MakeRequest], seconds: float, *, obedient: bool = True) -> Answers:
    """Let each client send one request after the other. Those that are not obedient come back at once."""
    raise_file_limit()
    answers = Answers()

    async def run() -> None:
        answers.until = time.monotonic() + seconds
        await asyncio.gather(*(run_client(port, make, answers, obedient) for make in clients))

    asyncio.run(run())
    return answers


def raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def run_client(port: int, make: MakeRequest, answers: Answers, obedient: bool) -> None:
    streams, turn, until = None, 0, answers.until
    while time.monotonic() < until:
        try:
            streams = streams or await connect(port, answers)
            pause = await exchange(*streams, make(turn), answers)
            turn += pause is None
            if pause is not None and obedient:
                await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            answers.errors[repr(error)] += 1
            streams = None
            await asyncio.sleep(0.1)
    if streams:
        streams[1].close()


async def connect(port: int, answers: Answers) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    answers.connections += 1
    return await asyncio.open_connection("127.0.0.1", port)


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, answers: Answers
) -> int | None:
    """Send a request and read the answer. Return the seconds after which the client may come back, if it must."""
    started = time.monotonic()
    writer.write(request)
    async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(int(headers["content-length"]))
        await writer.drain()
    seconds = time.monotonic() - started
    answers.statuses[status] += 1
    if status != 503:
        answers.served_seconds.append(seconds)
        answers.served_at.append(started + seconds)
        return None
    answers.refused_seconds.append(seconds)
    answers.retry_after.append(int(headers["retry-after"]))
    return answers.retry_after[-1]


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers, with their names in lower case. Raises ValueError for other bytes."""
    status, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" not in headers or headers.get("retry-after", "1").isdigit() is False:
        raise ValueError(head.decode("latin-1"))
    return int(status.split()[1]), headers
