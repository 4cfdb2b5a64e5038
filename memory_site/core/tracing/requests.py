"""The middleware that traces requests; without tracing it is not even loaded."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from memory_site.core import tracing
from memory_site.core.logs.messages import describe_route
from memory_site.core.logs.requests import PROBE_PATHS


class TracingMiddleware:
    """Trace each request but probes, as part of the trace that its `traceparent` names.

    The span has the route and no address: a path or a query may hold ids of users and sessions.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.TRACING:
            raise MiddlewareNotUsed
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.get_response, self.server, self.format = get_response, SpanKind.SERVER, TraceContextTextMapPropagator()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        telemetry = tracing.active
        if telemetry is None or request.path in PROBE_PATHS:
            return self.get_response(request)
        parent = self.format.extract(get_trace_headers(request))
        attributes = {"http.request.method": request.method, "memory_site.request_id": getattr(request, "id", "")}
        name = request.method or ""
        with tracing.start_span(telemetry, name, (), attributes, context=parent, kind=self.server) as span:
            response = self.get_response(request)
            note_result(span, request, response)
        return response


def get_trace_headers(request: HttpRequest) -> dict[str, str]:
    """Return what the caller says of its trace. Not its baggage: nothing of a caller is handed on."""
    names = {"traceparent": "HTTP_TRACEPARENT", "tracestate": "HTTP_TRACESTATE"}
    return {name: request.META[key] for name, key in names.items() if key in request.META}


def note_result(span: Any, request: HttpRequest, response: HttpResponse) -> None:
    """Set what is known at a request's end: route, status, namespace and key."""
    if not span.is_recording():
        return
    route = describe_route(request)
    span.update_name(f"{request.method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": response.status_code})
    if (caller := getattr(request, "auth", None)) is not None:
        span.set_attributes({"memory_site.namespace": caller.namespace_id, "memory_site.key_id": caller.key_id})
    if response.status_code >= 500:
        tracing.mark_failed(span, None)
