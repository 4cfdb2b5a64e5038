"""Small real embedding servers on 127.0.0.1: one that works, and the many ways in which one can misbehave."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

VECTOR_WIDTH = 8

#: Answers one request; `body` is what was asked, as an object.
Behaviour = Callable[["Handler", dict], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms
    server: "EmbeddingServer"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        with suppress(OSError):  # the client may have gone, which is often the point of the test
            self.server.behaviour(self, body)

    def answer(self, status: int, content: object, **headers: str):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments):
        pass


class EmbeddingServer(ThreadingHTTPServer):
    """Runs while the `with` block does; remembers each request as (path, headers, body)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.requests: list[tuple[str, dict, dict]] = []
        self.connections, self.lock = 0, threading.Lock()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def texts(self) -> list[list[str]]:
        """The texts of each request."""
        return [body["input"] for _, _, body in self.requests]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.stopping.set()
        self.shutdown()
        self.server_close()


def make_vector(text: str, width: int = VECTOR_WIDTH) -> list[float]:
    """A vector that depends on the text alone."""
    return np.random.default_rng(list(text.encode())).normal(size=width).tolist()


def build_ollama_response(rows: list) -> dict:
    return {"model": "any", "embeddings": rows}


def build_openai_response(rows: list) -> dict:
    """Last first: the order of an answer is not promised."""
    items = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    return {"object": "list", "data": items[::-1]}


def build_response(handler: Handler, rows: list) -> dict:
    return (build_ollama_response if handler.path == "/api/embed" else build_openai_response)(rows)


def answer_vectors(handler: Handler, body: dict):
    if "input" not in body:
        return handler.answer(200, {"details": {}})
    handler.answer(200, build_response(handler, [make_vector(text) for text in body["input"]]))


def answer_rows(rows: Callable[[list[str]], list]) -> Behaviour:
    """Whatever rows `rows` makes of the texts."""
    return lambda handler, body: handler.answer(200, build_response(handler, rows(body["input"])))


def answer_error(status: int, message: str = "no", **headers: str) -> Behaviour:
    return lambda handler, body: handler.answer(status, {"error": message}, **headers)


def answer_unless(condition: Callable[[str], bool], otherwise: Behaviour) -> Behaviour:
    """Works, but does `otherwise` with the whole request when the condition holds for one of its texts."""

    def behaviour(handler: Handler, body: dict):
        (otherwise if any(map(condition, body["input"])) else answer_vectors)(handler, body)

    return behaviour


def hang(handler: Handler, body: dict):
    handler.server.stopping.wait(60)


def trickle_headers(handler: Handler, body: dict):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    trickle(handler, b"s")


def trickle_body(handler: Handler, body: dict):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    trickle(handler, b" ")


def trickle_without_length(handler: Handler, body: dict):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    trickle(handler, b" ")


def trickle(handler: Handler, byte: bytes):
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(byte)


def send_huge_body(handler: Handler, body: dict):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not handler.server.stopping.is_set():
        handler.wfile.write(b" " * 1_000_000)


def break_off(handler: Handler, body: dict):
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"embeddings": [[1,')
    handler.hang_up()


def close_connection(handler: Handler, body: dict):
    handler.hang_up()
