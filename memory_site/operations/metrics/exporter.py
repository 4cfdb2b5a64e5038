"""A port on which a worker shows what the processes of its machine count, where no web server runs.

The figures of the store are left out: they are those of all machines, and the web servers show them.
"""

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings

from memory_site.core.http.middleware import pick_request_id
from memory_site.core.http.problems import PROBLEM_MEDIA_TYPE, Problem, build_problem_document
from memory_site.operations.metrics.access import check_access
from memory_site.operations.metrics.exposition import CONTENT_TYPE, write_metrics

log = logging.getLogger(__name__)
PATH = "/metrics"
MAX_CONNECTIONS = 8
NOT_FOUND = Problem(404, f"There is nothing here but {PATH}.")
NOT_ALLOWED = Problem(405, "Only GET and HEAD are possible here.", headers={"Allow": "GET, HEAD"})


class Server(ThreadingMixIn, WSGIServer):
    """Serves a few connections at once and closes any other: the port is no way to occupy a worker."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.places = BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()


class SilentHandler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may be silent

    def log_message(self, format: str, *args: Any) -> None:
        """Log no line for every scrape."""


def start_exporter(**_: object) -> None:
    """Begin to serve METRICS_PORT, if there is one. Another worker of the machine may serve it: it shows the same."""
    if not settings.METRICS_PORT:
        return
    try:
        server = build_server(settings.METRICS_PORT)
    except OSError as error:
        log.warning("This worker does not serve METRICS_PORT: %s", error)
        return
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def build_server(port: int) -> WSGIServer:
    """Return a server that listens on all interfaces. Raises OSError if the port is taken."""
    return make_server("", port, show_metrics, Server, SilentHandler)


def show_metrics(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request, as a WSGI application."""
    if problem := find_problem(environ):
        body = build_problem_document(problem, environ["PATH_INFO"], pick_request_id(""))
        status, headers = problem.status, {"Content-Type": PROBLEM_MEDIA_TYPE, **problem.headers}
    else:
        status, headers, body = 200, {"Content-Type": CONTENT_TYPE}, write_metrics()
    headers |= {"Content-Length": str(len(body)), "Cache-Control": "no-store"}
    start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def find_problem(environ: dict[str, Any]) -> Problem | None:
    if environ["PATH_INFO"] != PATH:
        return NOT_FOUND
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return NOT_ALLOWED
    return check_access(environ.get("HTTP_AUTHORIZATION", ""))
