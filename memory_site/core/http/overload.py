"""The WSGI layer in front of Django that admits requests, or answers 503 before it reads their bodies."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from io import BytesIO
from typing import Any

from django.conf import settings
from django.db import connections

from memory_site.core.http.admission import Admission, Refused, Visit
from memory_site.core.http.middleware import pick_request_id
from memory_site.core.http.problems import PROBLEM_MEDIA_TYPE, Problem, build_problem_document
from memory_site.core.http.request_metrics import HTML_PATH_PREFIXES, STARTED
from memory_site.core.logs.requests import log_refused
from memory_site.core.metrics.counters import requests_refused

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

#: The lanes of those who have no namespace yet: pages for people, and keys that this process has not seen.
CONSOLE, STRANGERS = "console", "strangers"
LIVENESS_PATH = "/health/live"
#: For these there are places of their own: what observes the site is answered when it is overloaded.
OBSERVERS_PATHS = ("/health", "/metrics")
#: Seats that the longest body takes. Seats bound the memory of bodies as well as the number of threads.
SEATS_OF_LONGEST_BODY = 16
READ_BYTES = 65_536
OVERLOADED = Problem(503, "The server has more requests than it can serve.")

#: Of this process, for every request but those of observers.
admission = Admission(settings.WEB_PLACES, settings.WEB_SEATS, settings.WEB_MAX_WAIT)
health_admission = Admission(places=4, seats=64, max_wait=settings.WEB_MAX_WAIT)


#: `visit`: the admission and the visit of the request that this thread serves.
_current = threading.local()


def step_aside() -> AbstractContextManager[None]:
    """Let other requests have this thread's place and connections inside the block, for a wait that needs none. Without
    a request, and inside a transaction, it does nothing."""
    visit = getattr(_current, "visit", None)
    opened = connections.all(initialized_only=True)
    if visit is None or any(connection.in_atomic_block for connection in opened):
        return nullcontext()
    for connection in opened:
        connection.close()  # returns it to the pool
    return visit[0].step_aside(visit[1])


class AdmissionLayer:
    """Serves the requests that `admission` admits. `find_namespace` returns whose a request is, if this process knows
    it already: admission never queries the database."""

    def __init__(
        self, application: Application, admission: Admission, find_namespace: Callable[[Environ], Hashable | None]
    ) -> None:
        self.application, self.admission, self.find_namespace = application, admission, find_namespace

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path, environ[STARTED] = environ["PATH_INFO"], time.perf_counter()
        if path == LIVENESS_PATH:
            return self.application(environ, start_response)
        admission = health_admission if path.startswith(OBSERVERS_PATHS) else self.admission
        lane = self._pick_lane(environ)
        try:
            visit = admit(admission, lane, environ)
        except Refused as refused:
            requests_refused.labels(name_sender(path, lane)).inc()
            return refuse(environ, start_response, refused.retry_after)
        _current.visit = admission, visit
        try:
            return ServedResponse(self.application(environ, start_response), partial(admission.leave, visit))
        except BaseException:
            admission.leave(visit)
            raise
        finally:
            _current.visit = None

    def _pick_lane(self, environ: Environ) -> Hashable:
        if environ["PATH_INFO"].startswith(HTML_PATH_PREFIXES):
            return CONSOLE
        namespace = self.find_namespace(environ)
        return STRANGERS if namespace is None else namespace


def name_sender(path: str, lane: Hashable) -> str:
    """Return who sent a request, for the metrics: not which namespace it was."""
    if path.startswith(OBSERVERS_PATHS):
        return "health"
    return str(lane) if lane in (CONSOLE, STRANGERS) else "key"


def admit(admission: Admission, lane: Hashable, environ: Environ) -> Visit:
    """Return the visit of a request whose turn has come. Raises Refused.

    The body is read before the turn comes: a slow client occupies a thread and seats, but no place. A stranger's is
    left unread, and so is one that is too long: both are refused by the application.
    """
    length = 0 if lane == STRANGERS else get_readable_length(environ)
    visit = admission.enter(lane, 1 + length * SEATS_OF_LONGEST_BODY // settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    try:
        if length:
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(length))
        else:
            environ["wsgi.input"] = UnreadBody(environ["wsgi.input"])
        admission.wait_for_turn(visit)
    except BaseException:
        admission.leave(visit)
        raise
    return visit


class UnreadBody:
    """A body that the application reads: a stranger's. Others have the place while a slow client sends it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, *size: int) -> bytes:
        with step_aside():
            return self._stream.read(*size)

    def readline(self, *size: int) -> bytes:
        with step_aside():
            return self._stream.readline(*size)


class ServedResponse:
    """A response that calls `finish` after it is closed: Django returns its connection to the pool when it is."""

    def __init__(self, response: Iterable[bytes], finish: Callable[[], None]) -> None:
        self._response, self._finish = response, finish

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response)

    def close(self) -> None:
        try:
            if (close := getattr(self._response, "close", None)) is not None:
                close()
        finally:
            self._finish()


def refuse(environ: Environ, start_response: StartResponse, retry_after: int) -> Iterator[bytes]:
    """Answer 503 with a problem document."""
    request_id = pick_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    log_refused(environ.get("REQUEST_METHOD", ""), request_id)
    document = build_problem_document(OVERLOADED, environ["PATH_INFO"], request_id)
    headers = {
        "Content-Type": PROBLEM_MEDIA_TYPE,
        "Content-Length": str(len(document)),
        "Retry-After": str(retry_after),
        "Cache-Control": "no-store",
        "X-Request-ID": request_id,
    }
    start_response("503 Service Unavailable", list(headers.items()))
    return answer_then_discard(document, environ)


def answer_then_discard(document: bytes, environ: Environ) -> Iterator[bytes]:
    """Yield the answer, then discard the body.

    A server that closes a connection with unread bytes resets it, and the client may never see the answer. A client
    that waits for 100 Continue has sent none.
    """
    yield document
    if "HTTP_EXPECT" not in environ:
        discard(environ["wsgi.input"], min(get_body_length(environ), settings.DATA_UPLOAD_MAX_MEMORY_SIZE))


def discard(stream: Any, length: int) -> None:
    while length > 0 and (chunk := stream.read(min(length, READ_BYTES))):
        length -= len(chunk)


def get_readable_length(environ: Environ) -> int:
    """Return the announced length of a body that may be read; 0 for none, and for a wrong length."""
    length = get_body_length(environ)
    return length if length <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE else 0


def get_body_length(environ: Environ) -> int:
    length = environ.get("CONTENT_LENGTH") or ""
    return int(length) if length.isascii() and length.isdigit() and len(length) <= 18 else 0
