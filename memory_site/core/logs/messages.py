"""The message of a log record without what a caller sent: the same for every logger, ours or a library's."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from memory_site.core.logs.errors import WITHHELD, describe_error

#: Celery describes tasks by words of its own, with the texts of exceptions, arguments and results among them.
CELERY_TASK_LOGGERS = ("celery.app.trace", "celery.worker.request", "celery.worker.strategy")
CELERY_FACTS = frozenset({"name", "id", "description", "hostname", "internal", "runtime"})
#: What Python's warnings are logged by, and how one looks: file, line and category, then a text.
WARNINGS_LOGGER, WARNING_PATTERN = "py.warnings", re.compile(r"(?s)(.*?:\d+: (\w+)): .*")
#: Categories of warnings that speak of code; pydantic's and Django's others may speak of values.
HARMLESS_WARNINGS = ("DeprecationWarning", "ImportWarning", "ResourceWarning", "SecurityWarning", "SyntaxWarning")
NO_ROUTE = "(no such address)"


def get_message(record: logging.LogRecord) -> str:
    """Return the record's message with exceptions described, Celery's own words on a task and paths left out."""
    if isinstance(record.msg, BaseException):
        return describe_error(record.msg)
    if record.name == WARNINGS_LOGGER:
        return clean_warning(record.getMessage())
    if not record.args:
        return str(record.msg)
    try:
        return str(record.msg) % clean_arguments(record)
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} (its arguments do not fit)"


def clean_warning(message: str) -> str:
    """Return one of Python's warnings, without its text if that may hold data."""
    found = WARNING_PATTERN.match(message)
    return f"{found[1]}: {WITHHELD}" if found and not found[2].endswith(HARMLESS_WARNINGS) else message.rstrip()


def clean_arguments(record: logging.LogRecord) -> Any:
    """Return the arguments of the message, in the form that they have."""
    if isinstance(record.args, Mapping):
        return {name: clean_named(record, name, value) for name, value in record.args.items()}
    request = getattr(record, "request", None)
    return tuple(clean(value, request) for value in record.args or ())


def clean_named(record: logging.LogRecord, name: str, value: object) -> object:
    if record.name not in CELERY_TASK_LOGGERS or name in CELERY_FACTS:
        return clean(value)
    error = record.exc_info[1] if record.exc_info else None
    return describe_error(error) if name == "exc" and error is not None else "…"


def clean(value: object, request: Any = None) -> object:
    """Return the value, an exception's description, or the route instead of a request's path."""
    if isinstance(value, BaseException):
        return describe_error(value)
    return describe_route(request) if request is not None and value == getattr(request, "path", None) else value


def describe_route(request: Any) -> str:
    """Return the pattern of a request's address: its path may hold ids of users and sessions."""
    match = getattr(request, "resolver_match", None)
    return NO_ROUTE if match is None else f"/{match.route}"
