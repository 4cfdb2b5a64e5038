"""What a line says about the work in whose course it was logged: the request, the task, the trace, the process."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from memory_site.core.logs.messages import describe_route

#: The request or the task that this thread works for, as a function that returns fields: no line, no cost.
_source: ContextVar[Callable[[], dict[str, Any]] | None] = ContextVar("log_source", default=None)
#: More functions that return fields, such as the ids of the trace.
_providers: list[Callable[[], dict[str, Any]]] = []
HOST = socket.gethostname()
COMMAND, WEB, WORKER, BEAT = "command", "web", "worker", "beat"
_kind = COMMAND


def set_process_kind(kind: str) -> None:
    """Name what this process is in every line that it logs: web, worker or beat. The default is a command."""
    global _kind
    _kind = kind


def add_provider(provider: Callable[[], dict[str, Any]]) -> None:
    """Have a function's fields in every line of this process."""
    _providers.append(provider)


def get_fields() -> dict[str, Any]:
    """Return the fields of a line that is logged now."""
    fields = {"process": _kind, "pid": os.getpid(), "host": HOST}
    for provider in (*_providers, _source.get()):
        if provider is not None:
            fields |= provider()
    return fields


@contextmanager
def logging_for(source: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Have the fields of a request or task in every line that this thread logs inside the block."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def get_request_fields(request: Any) -> dict[str, Any]:
    """Return the ids of a request, its route, and its caller's key and namespace once they are known."""
    caller = getattr(request, "auth", None)
    return {
        "request_id": getattr(request, "id", None),
        "method": request.method,
        "route": describe_route(request),
        "namespace": getattr(caller, "namespace_id", None),
        "key_id": getattr(caller, "key_id", None),
    }
