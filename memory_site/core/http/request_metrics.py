"""Which operation a request is for, and the count of its answer."""

import inspect
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse

from memory_site.core.metrics.counters import count_request

#: Where the layer in front of Django leaves the moment at which a request came, by `time.perf_counter`.
STARTED = "memory_site.started"
#: Pages for people, whose errors are HTML as well; every other client is a program.
HTML_PATH_PREFIXES = ("/admin/", "/static/")


def name_operation(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate an operation's run: leave its id at the request, the name of its function as in the OpenAPI document."""
    operation_id = inspect.unwrap(run).__self__.view_func.__name__  # a bound method

    @wraps(run)
    def named(request: HttpRequest, **path: Any) -> HttpResponse:
        request.operation_id = operation_id  # type: ignore[attr-defined]
        return run(request, **path)

    return named


def count_answer(request: HttpRequest, response: HttpResponse, started: float) -> None:
    """Count the answer. The time begins before the wait for admission, if it was there."""
    seconds = time.perf_counter() - request.META.get(STARTED, started)
    count_request(find_operation(request), response.status_code, seconds)


def find_operation(request: HttpRequest) -> str:
    """Return the id of the API's operation, or what else was asked for. Never a path: of those there is no end."""
    if (operation_id := getattr(request, "operation_id", None)) is not None:
        return operation_id
    if request.path.startswith(HTML_PATH_PREFIXES):
        return "console"
    part = request.path[1:].partition("/")[0]
    return part if part in ("health", "metrics") else "other"
