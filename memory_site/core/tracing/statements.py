"""Spans of SQL statements: the text as it is sent, with placeholders, and never a parameter."""

from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

from memory_site.core import tracing
from memory_site.core.tracing import start_span

#: Of the text of a statement; the longest of ours has 6,000 characters.
MAX_CHARACTERS = 2_000


def connect() -> None:
    """Trace the statements of all connections of this process."""
    connection_created.connect(watch_connection)


def watch_connection(connection: Any, **_: object) -> None:
    """Have Django call `trace_statement` for each statement. A pooled connection is created for each request."""
    if trace_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(trace_statement)


def trace_statement(execute: Callable[..., Any], sql: Any, parameters: Any, many: bool, context: dict) -> Any:
    """Execute a statement, in a span of its own if its request or task has one. Parameters are not recorded."""
    from opentelemetry.trace import SpanKind, get_current_span  # noqa: PLC0415

    telemetry = tracing.active
    if telemetry is None or not get_current_span().is_recording():
        return execute(sql, parameters, many, context)
    connection, text = context["connection"], str(sql).strip()
    operation = text.partition(" ")[0].partition("\n")[0].upper()
    attributes = {
        "db.system.name": "postgresql",
        "db.namespace": connection.settings_dict["NAME"] or "",
        "db.operation.name": operation,
        "db.query.text": text[:MAX_CHARACTERS],
        "memory_site.database": connection.alias,
    }
    with start_span(telemetry, operation, (), attributes, kind=SpanKind.CLIENT):
        return execute(sql, parameters, many, context)
