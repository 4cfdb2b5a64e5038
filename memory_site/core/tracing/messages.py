"""Traces across the broker: a message carries the span that sent it, and the spans that it speaks for.

A message is a hint that many requests share, so it belongs to the trace of one of them, and its task has links to the
others. What a task does for rows of others, or because beat sent it, is in its own trace.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celery.signals import task_failure, task_postrun, task_prerun

from memory_site.core import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

#: Headers of a message: the span that sent it as W3C Trace Context writes it, and of the others, separated by commas.
PARENT_HEADER, LINKS_HEADER = "traceparent", "memory_site_links"
#: By task id: the block that ends with the task, and its span.
_running: dict[str, tuple[Any, Any]] = {}


@contextmanager
def publishing(task: str, origins: Sequence["SpanContext"]) -> Iterator[dict[str, str] | None]:
    """Trace the sending of a message. Provide its headers, None without tracing."""
    telemetry = tracing.active
    if telemetry is None:
        yield None
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    attributes = {"messaging.system": "redis", "messaging.operation.type": "send", "memory_site.task": task}
    parent = make_parent(origins[0]) if origins else None
    name = f"send {task}"
    with tracing.start_span(telemetry, name, origins[1:], attributes, context=parent, kind=SpanKind.PRODUCER) as span:
        yield build_headers(span.get_span_context(), origins[1:])


def make_parent(context: "SpanContext") -> Any:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context  # noqa: PLC0415

    return set_span_in_context(NonRecordingSpan(context))


def build_headers(sender: "SpanContext", others: Sequence["SpanContext"]) -> dict[str, str]:
    headers = {PARENT_HEADER: format_context(sender)}
    return headers | ({LINKS_HEADER: ",".join(map(format_context, others))} if others else {})


def format_context(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def parse_contexts(text: str) -> list["SpanContext"]:
    """Return the spans of a header; what is none is left out."""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    extract = TraceContextTextMapPropagator().extract
    found = (get_current_span(extract({PARENT_HEADER: part})).get_span_context() for part in text.split(",") if part)
    return [context for context in found if context.is_valid]


def connect() -> None:
    """Trace the tasks that this process runs."""
    for signal, receiver in RECEIVERS:
        signal.connect(receiver)


def disconnect() -> None:
    """Trace them no longer."""
    for signal, receiver in RECEIVERS:
        signal.disconnect(receiver)


def begin_task(task_id: str, task: Any, **_: object) -> None:
    """Start the span of a task, as a child of the span that sent the message; others that asked for it are links."""
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    telemetry = tracing.active
    if telemetry is None:
        return
    senders, others = (
        parse_contexts(getattr(task.request, name, None) or "") for name in (PARENT_HEADER, LINKS_HEADER)
    )
    attributes = {"messaging.system": "redis", "messaging.operation.type": "process", "memory_site.task": task.name}
    attributes["messaging.message.id"] = task_id
    parent = make_parent(senders[0]) if senders else None
    name = f"run {task.name}"
    block = tracing.start_span(telemetry, name, others, attributes, context=parent, kind=SpanKind.CONSUMER)
    _running[task_id] = block, block.__enter__()


def fail_task(task_id: str, exception: BaseException | None = None, **_: object) -> None:
    if task_id in _running:
        tracing.mark_failed(_running[task_id][1], exception)


def end_task(task_id: str, **_: object) -> None:
    block, _span = _running.pop(task_id, (None, None))
    if block is not None:
        block.__exit__(None, None, None)


RECEIVERS = ((task_prerun, begin_task), (task_failure, fail_task), (task_postrun, end_task))
