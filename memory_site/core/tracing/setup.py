"""Switches tracing on in this process. Called in each web process and worker, after the last fork."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any
from uuid import uuid4

from django.conf import settings

import memory_site
from memory_site.core import tracing
from memory_site.core.logs.context import add_provider
from memory_site.core.metrics.counters import bounds

#: Seconds that the end of a process waits for a receiver that does not answer. `serve` waits 5.5 s for all programs.
FLUSH_SECONDS = 2.0
SERVICE_NAME = "memory-site"
#: The exporter says with each batch that it cannot be sent, and with each retry.
QUIET_SECONDS = 300.0


def start_tracing(process: str) -> None:
    """Trace this process if OTEL_EXPORTER_OTLP_ENDPOINT is set. `process`: web or worker."""
    if not settings.TRACING or tracing.active is not None:
        return
    for name, value in settings.OTEL_VARIABLES.items():
        os.environ.setdefault(name, value)  # those of .env: the SDK reads the environment
    providers = build_providers(process)
    tracing.active = build_telemetry(*providers)
    limit_complaints()
    add_provider(get_trace_fields)
    from memory_site.core.tracing import messages, statements  # noqa: PLC0415

    statements.connect()
    messages.connect()
    stop = stop_once(providers)
    atexit.register(stop)
    Finalize(None, stop, exitpriority=10)  # a web process is a child of multiprocessing: it runs no atexit


def build_providers(process: str) -> tuple[Any, Any]:
    """Return the providers of spans and measurements. Sampling, batches, headers and time limits: OTEL_ variables."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = build_resource(process)
    spans = TracerProvider(resource=resource, shutdown_on_exit=False)
    if is_exported("OTEL_TRACES_EXPORTER"):
        spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if is_exported("OTEL_METRICS_EXPORTER") else []
    return spans, MeterProvider(readers, resource=resource, shutdown_on_exit=False)


def is_exported(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() != "none"


def build_resource(process: str) -> Any:
    """Return what identifies this process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415

    ours: dict[str, str | int] = {
        "service.name": SERVICE_NAME,
        "service.version": memory_site.__version__,
        "service.instance.id": str(uuid4()),
        "process.pid": os.getpid(),
        "memory_site.process": process,
    }
    return Resource.create(dict(ours)).merge(OTELResourceDetector().detect())


def build_telemetry(spans: Any, metrics: Any) -> tracing.Telemetry:
    return tracing.Telemetry(spans.get_tracer("memory_site"), metrics.get_meter("memory_site"), bounds)


def get_trace_fields() -> dict[str, Any]:
    """Return the ids of the current span, for the log."""
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span  # noqa: PLC0415

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def stop_once(providers: tuple[Any, ...]) -> Callable[[], None]:
    """Return a function that sends what is left and stops the providers, the first time it is called."""
    done = threading.Event()

    def stop() -> None:
        if done.is_set():
            return
        done.set()
        threads = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
        ends = time.monotonic() + FLUSH_SECONDS
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))

    return stop


def limit_complaints() -> None:
    """Let OpenTelemetry log one line of each kind in QUIET_SECONDS: a receiver may be away for days."""
    complaints = Complaints()
    for handler in logging.getLogger().handlers:
        handler.addFilter(complaints)


class Complaints(logging.Filter):
    """Passes every record but OpenTelemetry's repetitions."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._logged.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._logged[kind] = now
        return True
