"""A relay between an agent and a site that fails as networks, proxies and servers do, without either knowing."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.ports import hold_port

#: Headers that belong to a connection.
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding"}


class Relay:
    """Forwards to `target`. `fault` decides about each request: None forwards, a number is answered as a status, "lose"
    forwards and breaks the connection instead of answering, "keep" does so too but forwards when `deliver` is called.
    Requests are noted as (method, path, status), and what they say of consistency.
    `headers` replace the agent's."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (parts.hostname, parts.port)
        self.holder = hold_port()
        self.port = self.holder.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.fault = lambda method, path: None
        self.requests = []
        self.consistencies = set()
        self.lost = 0
        self.kept = []
        self.headers = {}
        self.server = None

    def up(self):
        """Listen."""
        if self.server is None:
            self.server = _Server(("127.0.0.1", self.port), _Handler)
            self.server.relay = self
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def down(self) -> None:
        """Refuse connections, and break those that are there."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server.break_connections()
            self.server = None

    def end(self) -> None:
        """Be down for good, and give the port back."""
        self.down()
        self.holder.close()

    def forward(self, method, path, headers, body):
        connection = http.client.HTTPConnection(*self.target, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def deliver(self) -> list[int]:
        """Forward what was kept. Return the statuses of the answers, which no agent gets."""
        kept, self.kept = self.kept, []
        return [self.forward(*each)[0] for each in kept]

    def list_writes(self):
        return [(method, path) for method, path, _ in self.requests if method != "GET"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.open = set()

    def process_request(self, request, client_address) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request, client_address) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def relay(self) -> None:
        relay = self.server.relay
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = relay.fault(self.command, self.path)
        if isinstance(fault, int):
            return self.answer(fault, [("Retry-After", "0")], b"")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        if fault == "keep":
            relay.kept.append((self.command, self.path, headers | relay.headers, body))
            self.close_connection = True
            return None
        status, headers, content = relay.forward(self.command, self.path, headers | relay.headers, body)
        relay.requests.append((self.command, self.path, status))
        relay.consistencies.add(self.headers.get("X-Consistency"))
        if fault == "lose":
            relay.lost += 1
            self.close_connection = True
            return None
        return self.answer(status, headers, content)

    def answer(self, status, headers, content) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_HEADERS | {"content-length"}:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay  # noqa: N815

    def log_message(self, *_) -> None:
        pass
