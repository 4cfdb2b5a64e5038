"""A receiver of OTLP over HTTP: keeps the spans and measurements that it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class ReceivedSpan:
    """A span with ids as hexadecimal text; `resource` is what its process says of itself."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: list[str]
    attributes: dict[str, Any]
    failed: bool
    events: int
    resource: dict[str, Any]

    @property
    def process(self) -> str:
        return self.resource["memory_site.process"]


@dataclass
class Receiver:
    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    #: By name: attributes and count of each histogram's point, as last sent.
    histograms: dict[str, list[tuple[dict[str, Any], int]]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def receive(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            self._receive_spans(ExportTraceServiceRequest.FromString(body))
        else:
            self._receive_metrics(ExportMetricsServiceRequest.FromString(body))

    def _receive_spans(self, message: ExportTraceServiceRequest) -> None:
        for group in message.resource_spans:
            resource = read_attributes(group.resource.attributes)
            self.spans += [read_span(span, resource) for scope in group.scope_spans for span in scope.spans]

    def _receive_metrics(self, message: ExportMetricsServiceRequest) -> None:
        for group in message.resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                points = [(read_attributes(point.attributes), point.count) for point in metric.histogram.data_points]
                self.histograms[metric.name] = points


def read_span(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.trace_id.hex() for link in span.links],
        read_attributes(span.attributes),
        span.status.code == span.status.STATUS_CODE_ERROR,
        len(span.events),
        resource,
    )


def read_attributes(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.receive(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
