"""The middleware that logs each finished request, with LOG_FORMAT=json only."""

import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from memory_site.core.logs.context import get_request_fields, logging_for
from memory_site.core.logs.setup import JSON

log = logging.getLogger("memory_site.requests")
#: Asked every few seconds by whatever keeps the site alive: logged at DEBUG only.
PROBE_PATHS = frozenset({"/health/live", "/health/ready"})


class RequestLogMiddleware:
    """Log one line for each request, and have its ids in every line that is logged meanwhile."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if settings.LOG_FORMAT != JSON:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = perf_counter()
        with logging_for(partial(get_request_fields, request)):
            response = self.get_response(request)
            log_finished(request.path, response.status_code, perf_counter() - started)
        return response


def log_refused(method: str, request_id: str) -> None:
    """Log a request that was refused before its body was read, by an overloaded server."""
    if settings.LOG_FORMAT == JSON:
        with logging_for(lambda: {"request_id": request_id, "method": method}):
            log.info("Request refused", extra={"status": 503})


def log_finished(path: str, status: int, seconds: float) -> None:
    """Log that a request is finished; its ids are those of `logging_for`."""
    level = logging.DEBUG if path in PROBE_PATHS else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "Request finished", extra={"status": status, "duration_ms": round(seconds * 1000, 2)})
