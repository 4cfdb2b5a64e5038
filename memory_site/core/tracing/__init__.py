"""Traces and metrics by OTLP. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set; then nothing of OpenTelemetry is imported.

Code that is traced calls this module only: `span`, `Origins`, `trace_embedding`. Off, each of them is one comparison.
`setup` switches tracing on in a process, `requests`, `statements` and `messages` trace what their names say.

Spans are made here, not by OpenTelemetry's instrumentation packages: those record addresses with ids, and the texts of
exceptions, which may hold data.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from memory_site.core.logs.errors import get_class_name, get_sqlstate, unwrap

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Link, Span, SpanContext, Tracer

#: Origins that are remembered until a message or a run takes them. Under load the first ones stand for the others.
MAX_ORIGINS = 64


class Telemetry:
    """What a process traces with, and the histograms that repeat what it measures for `/metrics`, by name."""

    def __init__(self, tracer: "Tracer", meter: "Meter", bounds: Mapping[str, Sequence[float]]) -> None:
        self.tracer = tracer
        self._histograms = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=list(buckets))
            for name, buckets in bounds.items()
        }

    def record(self, name: str, seconds: float, labels: Mapping[str, str]) -> None:
        self._histograms[name].record(seconds, labels)


#: None: this process does not trace.
active: Telemetry | None = None


def span(name: str, origins: Sequence["SpanContext"] = (), **attributes: Any) -> AbstractContextManager[Any]:
    """Trace the block, with links to the spans it works for. An underscore in an attribute's name is a dot."""
    if active is None:
        return nullcontext()
    return start_span(active, name, origins, {name.replace("_", "."): value for name, value in attributes.items()})


@contextmanager
def start_span(
    telemetry: Telemetry, name: str, origins: Sequence["SpanContext"], attributes: dict[str, Any], **options: Any
) -> Iterator["Span"]:
    """Make a span the current one inside the block. An error in the block ends it as failed, without the error's text.

    `options` are those of OpenTelemetry's `start_as_current_span`.
    """
    options |= {"record_exception": False, "set_status_on_exception": False}
    links = make_links(origins)
    with telemetry.tracer.start_as_current_span(name, attributes=attributes, links=links, **options) as span:
        try:
            yield span
        except Exception as error:
            mark_failed(span, error)
            raise


def make_links(origins: Sequence["SpanContext"]) -> list["Link"]:
    from opentelemetry.trace import Link  # noqa: PLC0415

    return [Link(origin) for origin in origins]


def mark_failed(span: "Span", error: BaseException | None) -> None:
    """Say that the span failed: with class and SQLSTATE of an error, never with its text."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.set_status(StatusCode.ERROR)
    if error is not None:
        error = unwrap(error)
        span.set_attribute("error.type", get_class_name(type(error)))
        if (sqlstate := get_sqlstate(error)) is not None:
            span.set_attribute("db.response.status_code", sqlstate)


class Origins:
    """The spans that asked for work which one message or one run will do for all of them."""

    def __init__(self) -> None:
        self._contexts: list[SpanContext] = []
        self._lock = threading.Lock()

    def add_current(self) -> None:
        """Remember the span of this thread, if there is one. Return at once; never fail."""
        if active is None:
            return
        from opentelemetry.trace import get_current_span  # noqa: PLC0415

        context = get_current_span().get_span_context()
        with self._lock:
            if context.is_valid and len(self._contexts) < MAX_ORIGINS:
                self._contexts.append(context)

    def take(self) -> list["SpanContext"]:
        """Return those who asked since the last call, a sampled one first: the work belongs to its trace."""
        if active is None:
            return []
        with self._lock:
            contexts, self._contexts = self._contexts, []
        return sorted(contexts, key=lambda context: not context.trace_flags.sampled)


def trace_embedding(model: str | None, texts: int) -> AbstractContextManager[Any]:
    """Trace the embedding of so many texts."""
    if active is None:
        return nullcontext()
    return start_span(
        active, "embed texts", (), {"gen_ai.request.model": model or "default", "memory_site.texts": texts}
    )
