"""Servers that behave badly: one that answers by a script, one that never comes to an end, and a proxy that loses
answers."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

#: Of one connection to another: the other side may not be asked for them.
OWN_HEADERS = {"connection", "content-length", "host", "transfer-encoding"}
#: After so long a client that has not given up has failed its test.
DRIPPING_SECONDS = 120


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """`body` is text as it is, or an object as JSON. None for a status closes the connection instead."""

    status: int | None = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class Server(ThreadingHTTPServer):
    """Answers what `answer` returns, and keeps what it was asked."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Answer], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answer, self.requests, self.lock = answer, list[Request](), threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the client broke."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        with self.server.lock:
            self.server.requests.append(request)
        self.send(self.server.answer(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  # http.server's names

    def send(self, answer: Answer) -> None:
        self.close_connection = answer.status is None
        if answer.status is None:
            return
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.content))} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.status not in (204, 304):
            self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running(answer: Callable[[Request], Answer], port: int = 0) -> Iterator[Server]:
    server = Server(answer, port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def dripping(start: bytes, drop: bytes, reads: int = 65_536) -> Iterator[int]:
    """Yield the port of a server that sends `start` and then, again and again, `drop`, until its client leaves. Before
    each it reads what is there of the request, at most `reads` bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()
        thread = threading.Thread(target=drip, args=(listener, ended, start, drop, reads), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)  # also when no client has come
            thread.join()


def drip(listener: socket.socket, ended: threading.Event, start: bytes, drop: bytes, reads: int) -> None:
    listener.settimeout(DRIPPING_SECONDS)
    ends_at = time.monotonic() + DRIPPING_SECONDS
    with suppress(OSError), listener.accept()[0] as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.03)
        connection.sendall(start)
        while time.monotonic() < ends_at and not ended.wait(0.02):
            with suppress(TimeoutError):
                if not connection.recv(reads):
                    return
            connection.sendall(drop)


def answering(*answers: Answer) -> Callable[[Request], Answer]:
    """One answer after the other; the last one again and again."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def losing(target: str, lost: int) -> Callable[[Request], Answer]:
    """Ask the target, but keep its first answers: the client sees the connection close."""
    left = [lost]

    def answer(request: Request) -> Answer:
        response = forward(target, request)
        if left[0] > 0:
            left[0] -= 1
            return Answer(None)
        return response

    return answer


def forward(target: str, request: Request) -> Answer:
    connection = HTTPConnection(urlsplit(target).netloc, timeout=60)
    headers = {name: value for name, value in request.headers.items() if name not in OWN_HEADERS}
    try:
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in OWN_HEADERS}
        content_type = kept.pop("Content-Type", "application/json")
        return Answer(response.status, response.read(), kept, content_type)
    finally:
        connection.close()
