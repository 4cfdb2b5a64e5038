"""Everything that processes count. Labels have few values, known beforehand: no names, ids or texts of users."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import product
from time import perf_counter
from typing import TypeVar

from django.db import transaction
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from memory_site.core import tracing
from memory_site.core.metrics.values import use_own_values

PREFIX = "memory_site"
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WORK_BUCKETS = (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
SEARCH_MODES = ("hybrid", "vector", "text", "relevance")
PROCESS_KINDS = ("web", "worker", "beat")


class MeasuredHistogram(Histogram):
    """A histogram of which each measurement is sent by OTLP too, if that is switched on: nothing is measured twice."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        super().observe(amount, exemplar)
        if tracing.active is not None:
            tracing.active.record(self._name, amount, dict(zip(self._labelnames, self._labelvalues, strict=True)))


Metric = TypeVar("Metric", Counter, Gauge, Histogram)

disable_created_metrics()
use_own_values()
registry = CollectorRegistry()
#: The upper bounds of each histogram by its name.
bounds: dict[str, Sequence[float]] = {}


def counter(name: str, text: str, **labels: Sequence[str]) -> Counter:
    """Make a counter. Of each label the values are given that it has from the start: it is 0 then, not missing."""
    return begin(Counter(name, text, list(labels), namespace=PREFIX, registry=registry), list(labels.values()))


def gauge(name: str, text: str, **labels: Sequence[str]) -> Gauge:
    """Make a gauge, the sum of what each living process says."""
    metric = Gauge(name, text, list(labels), namespace=PREFIX, registry=registry, multiprocess_mode="livesum")
    return begin(metric, list(labels.values()))


def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
    bounds[f"{PREFIX}_{name}"] = buckets
    return MeasuredHistogram(name, text, labels, namespace=PREFIX, registry=registry, buckets=buckets)


def begin(metric: Metric, labels: Sequence[Sequence[str]]) -> Metric:
    for each in product(*labels) if labels else ():
        metric.labels(*each)
    return metric


requests = counter(
    "requests_total",
    "Requests that were answered, by operation (its id in the OpenAPI document, mcp and its tools, console, health,"
    " metrics, other) and HTTP status.",
    operation=(),
    status=(),
)
request_seconds = histogram(
    "request_duration_seconds",
    "Time until the answer to a request, with the wait for admission.",
    REQUEST_BUCKETS,
    "operation",
)
requests_refused = counter(
    "requests_refused_total",
    "Requests that admission answered with 503 before they were read, by who sent them: holders of a known key, others,"
    " browsers of the console, or health checks.",
    sender=("key", "strangers", "console", "health"),
)
requests_served = gauge("requests_served", "Requests that are served now.")
requests_waiting = gauge("requests_waiting", "Requests that wait for admission now.")
memories_stored = counter(
    "memories_stored_total",
    "Memories that were stored: new ones, or the same ones again.",
    outcome=("created", "existing"),
)
searches = counter(
    "searches_total",
    "Searches by mode and outcome. `degraded`: by words only, because the embedder was away.",
    mode=SEARCH_MODES,
    outcome=("found", "empty", "degraded", "failed"),
)
embedding_texts = counter(
    "embedding_texts_total",
    "Texts that workers gave to the embedder, by outcome.",
    outcome=("embedded", "refused", "unavailable", "failed"),
)
embedding_seconds = histogram(
    "embedding_batch_duration_seconds", "Time that the embedder took for a batch of texts.", WORK_BUCKETS
)
ingestion_runs = counter(
    "ingestion_runs_total",
    "Runs of ingestions that ended, by outcome. `interrupted`: by an error of the site, to be continued.",
    outcome=("completed", "failed", "interrupted"),
)
task_runs = counter("task_runs_total", "Background tasks that workers ran.", task=(), outcome=())
task_seconds = histogram("task_duration_seconds", "Time that a background task took.", WORK_BUCKETS, "task")
task_messages = counter(
    "task_messages_total",
    "Messages for tasks that were sent to the broker, or that it did not take.",
    outcome=("sent", "failed"),
)
pool_connections = gauge(
    "pool_connections", "Database connections of the web processes, by state.", state=("used", "idle")
)
pool_waiting = gauge("pool_requests_waiting", "Threads of web processes that wait for a database connection now.")
pool_waits = counter("pool_waits_total", "Waits of web processes for a database connection.")
pool_wait_seconds = counter("pool_wait_seconds_total", "Time of these waits.")
pool_errors = counter("pool_errors_total", "Waits for a database connection that ended without one.")
processes = gauge("processes", "Living processes of this machine that count, by kind.", kind=PROCESS_KINDS)
process_memory = gauge("process_resident_memory_bytes", "Memory of these processes.", kind=PROCESS_KINDS)
process_threads = gauge("process_threads", "Threads of these processes.", kind=PROCESS_KINDS)
process_cpu = counter("process_cpu_seconds_total", "Processor time of these processes.", kind=PROCESS_KINDS)


@cache
def find_request_metrics(operation: str, status: int) -> tuple[Counter, Histogram]:
    """Return the metrics of an operation. Cached: finding them by their labels takes longer than counting."""
    return requests.labels(operation, status), request_seconds.labels(operation)


def count_request(operation: str, status: int, seconds: float) -> None:
    number, duration = find_request_metrics(operation, status)
    number.inc()
    duration.observe(seconds)


def count_stored(created: int, existing: int) -> None:
    """Count memories as stored when the current transaction has committed, and never if it is rolled back."""
    for outcome, number in (("created", created), ("existing", existing)):
        if number:
            transaction.on_commit(partial(memories_stored.labels(outcome).inc, number), robust=True)


def count_search(mode: str, hits: int, *, degraded: bool = False) -> None:
    outcome = "degraded" if degraded else "found" if hits else "empty"
    searches.labels(mode, outcome).inc()


@contextmanager
def count_failed_search(mode: str) -> Iterator[None]:
    """Count a search as failed if the block raises."""
    try:
        yield
    except Exception:
        searches.labels(mode, "failed").inc()
        raise


@contextmanager
def measure(duration: Histogram, clock: Callable[[], float] = perf_counter) -> Iterator[None]:
    """Observe how long the block takes, whether it raises or not."""
    started = clock()
    try:
        yield
    finally:
        duration.observe(clock() - started)
