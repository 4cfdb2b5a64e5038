"""What a message says of the spans that asked for it."""

import pytest
from celery import Celery
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, TraceFlags

from memory_site.core import tracing
from memory_site.core.tracing import MAX_ORIGINS, Origins, messages
from memory_site.core.tracing.setup import build_telemetry

CANARY = "canary-7f3a"


@pytest.fixture
def spans(monkeypatch):
    """Finished spans of this process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "active", build_telemetry(provider, MeterProvider(shutdown_on_exit=False)))
    return exporter


def make_context(number: int, sampled: bool = True) -> SpanContext:
    return SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(int(sampled)))


def test_origins_are_remembered_once_and_only_so_many(spans):
    origins = Origins()
    origins.add_current()
    assert origins.take() == []
    for _ in range(MAX_ORIGINS + 5):
        with tracing.span("ask"):
            origins.add_current()
    assert len(origins.take()) == MAX_ORIGINS
    assert origins.take() == []


def test_a_sampled_origin_comes_first(spans):
    origins = Origins()
    origins._contexts = [make_context(1, sampled=False), make_context(2), make_context(3)]
    assert [context.trace_id for context in origins.take()] == [2, 3, 1]


def test_off_nothing_is_remembered():
    origins = Origins()
    origins.add_current()
    assert origins.take() == []
    with messages.publishing("some task", []) as headers:
        assert headers is None


def test_a_message_carries_the_first_origin_as_parent_and_links_to_the_others(spans):
    with messages.publishing("some task", [make_context(1), make_context(2), make_context(3)]) as headers:
        pass
    [sent] = spans.get_finished_spans()
    assert sent.parent.span_id == 1
    assert [link.context.trace_id for link in sent.links] == [2, 3]
    [sender] = messages.parse_contexts(headers["traceparent"])
    assert (sender.trace_id, sender.span_id) == (1, sent.context.span_id)
    assert [context.trace_id for context in messages.parse_contexts(headers["memory_site_links"])] == [2, 3]


@pytest.mark.parametrize("text", ["", ",", "tea", "00-zz-1-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 500])
def test_a_header_that_is_none_is_left_out(spans, text):
    assert messages.parse_contexts(text) == []


def test_a_failed_task_is_failed_without_its_text(spans):
    app = Celery("some", set_as_current=False)

    @app.task(name="some task", shared=False)
    def fail() -> None:
        with tracing.span("inner"):
            int(CANARY)

    messages.connect()
    try:
        fail.apply()
    finally:
        messages.disconnect()
    inner, outer = spans.get_finished_spans()
    assert inner.parent.span_id == outer.context.span_id
    for span in (inner, outer):
        assert not span.status.is_ok
        assert span.attributes["error.type"] == "builtins.ValueError"
        assert CANARY not in span.to_json()
