"""A proxy that adds an API key to each request: the conformance suite sends none."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

#: Of one connection, and not of the message.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade"}


class QuietServer(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """The suite closes connections before it has read the answer."""


@contextmanager
def proxy_with_key(site: str, key: str) -> Iterator[str]:
    """Provide the address of a proxy of the site inside the block."""
    server = QuietServer(("localhost", 0), build_handler(urlsplit(site).netloc, key))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def build_handler(netloc: str, key: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with closing(http.client.HTTPConnection(netloc, timeout=60)) as connection:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # the Host too, and a header that comes twice
                    if name.lower() not in HOP_BY_HOP:
                        connection.putheader(name, value)
                connection.putheader("Authorization", f"Bearer {key}")
                connection.endheaders(body)
                self.answer(connection.getresponse())

        do_GET = do_POST = do_DELETE = do_PUT = do_OPTIONS = do_HEAD = pass_on  # noqa: N815

        def answer(self, response: http.client.HTTPResponse) -> None:
            content = response.read()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
