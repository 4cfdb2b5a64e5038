"""Servers of a few lines, which a test makes as odd as it needs them."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from memory_hooks.settings import Settings


@contextlib.contextmanager
def serve(settings: Settings, answer: Callable[[socket.socket], None]) -> Iterator[Settings]:
    """Yield the settings of a server that treats each connection so."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield settings._replace(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)


def answer_with(
    status: int, body: Any, asked: list[bytes], content_type: bytes = b"application/json"
) -> Callable[[socket.socket], None]:
    """Return what answers each request so, and keeps it."""
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 %d Done\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(head % (status, content_type, len(text)) + text)

    return answer


def read_request(connection: socket.socket) -> bytes:
    """Return a request with its whole body. An end with a part of it unread would take the answer away."""
    request = b""
    while b"\r\n\r\n" not in request and (part := connection.recv(65536)):
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]) and (part := connection.recv(65536)):
        body += part
    return head + b"\r\n\r\n" + body
