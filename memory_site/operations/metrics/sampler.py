"""A thread of each process that notes every few seconds what is not worth counting at each request."""

import threading
import time
from collections.abc import Callable

import psutil
from django.db import connection
from prometheus_client import Counter

from memory_site.core.http.overload import admission
from memory_site.core.metrics import counters
from memory_site.operations.models import ProcessKind

SAMPLE_SECONDS = 5.0
MILLISECONDS = 1_000


class Growth:
    """A total that something else keeps, added to a counter as far as it has grown. One that restarts begins at 0."""

    def __init__(self, counter: Counter) -> None:
        self.counter, self.noted = counter, 0.0

    def note(self, total: float) -> None:
        self.counter.inc(total - self.noted if total >= self.noted else total)
        self.noted = total


class Sampler:
    """Notes the load of one process. Of a web process also its admission and its pool of connections."""

    def __init__(self, kind: ProcessKind) -> None:
        self.kind, self.process = kind, psutil.Process()
        self.cpu = Growth(counters.process_cpu.labels(kind))
        self.waits, self.errors = Growth(counters.pool_waits), Growth(counters.pool_errors)
        self.wait_seconds = Growth(counters.pool_wait_seconds)

    def sample(self) -> None:
        times = self.process.cpu_times()
        self.cpu.note(times.user + times.system)
        counters.processes.labels(self.kind).set(1)
        counters.process_memory.labels(self.kind).set(self.process.memory_info().rss)
        counters.process_threads.labels(self.kind).set(threading.active_count())
        if self.kind == ProcessKind.WEB:
            self._sample_admission()
            self._sample_pool()

    def _sample_admission(self) -> None:
        load = admission.load
        counters.requests_served.set(load.served)
        counters.requests_waiting.set(load.waiting)

    def _sample_pool(self) -> None:
        pool = connection.pool  # type: ignore[attr-defined]  # of PostgreSQL's backend
        stats = pool.get_stats() if pool else {}
        counters.pool_connections.labels("idle").set(stats.get("pool_available", 0))
        counters.pool_connections.labels("used").set(stats.get("pool_size", 0) - stats.get("pool_available", 0))
        counters.pool_waiting.set(stats.get("requests_waiting", 0))
        self.waits.note(stats.get("requests_queued", 0))
        self.wait_seconds.note(stats.get("requests_wait_ms", 0) / MILLISECONDS)
        self.errors.note(stats.get("requests_errors", 0))


def start_web_sampler() -> None:
    start_sampler(ProcessKind.WEB)


def start_worker_sampler(**_: object) -> None:
    start_sampler(ProcessKind.WORKER)


def start_beat_sampler(**_: object) -> None:
    start_sampler(ProcessKind.BEAT)


def start_sampler(kind: ProcessKind) -> None:
    """Begin to note the load of this process, until it ends."""
    threading.Thread(target=run_repeatedly, args=(Sampler(kind).sample,), name="metrics", daemon=True).start()


def run_repeatedly(sample: Callable[[], None]) -> None:
    while True:
        sample()
        time.sleep(SAMPLE_SECONDS)
