"""What a figure of the site is, and how many of them are read at once, in bounded time and not too often."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from django.db import connections
from prometheus_client import Metric

from memory_site.core.metrics.counters import PREFIX
from sessions_app.commands import get_first_line

log = logging.getLogger(__name__)
#: Seconds that a scrape waits for all sources together. Prometheus gives up after 10 by default.
WAIT_SECONDS = 4.0
GAUGE = "gauge"


class Figure(NamedTuple):
    """A gauge that `/metrics` shows: its name without the prefix, what it says, and its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()

    def value(self, value: float, *labels: str) -> "Value":
        return Value(self, labels, float(value))


class Value(NamedTuple):
    figure: Figure
    labels: tuple[str, ...]
    value: float


class Source:
    """A function that reads some figures, perhaps from the database, and what it has read last.

    At most one thread reads, whatever happens to it; a value counts for `seconds` and is dropped after that.
    """

    def __init__(
        self, name: str, figures: Sequence[Figure], read: Callable[[], Iterable[Value]], seconds: float = 10
    ) -> None:
        self.name, self.figures, self.read, self.seconds = name, figures, read, seconds
        self.values: list[Value] = []
        self._read_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self._read_at < self.seconds

    def request(self) -> None:
        """Begin to read, unless that is not needed or another thread is at it."""
        with self._lock:
            if not self.is_fresh and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name=f"metrics {self.name}", daemon=True)
                self._thread.start()

    def wait(self, deadline: float) -> bool:
        """Wait for the values until a moment of the monotonic clock. Return whether they are there."""
        if not self.is_fresh and self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return self.is_fresh

    def forget(self) -> None:
        self._read_at = float("-inf")

    def _run(self) -> None:
        try:
            self.values = list(self.read())
            self._read_at = time.monotonic()
        except Exception as error:  # any: its figures are missing, and the others are not
            log.warning("The figures of %s are missing in /metrics: %s", self.name, get_first_line(error))
        finally:
            connections.close_all()


UP = Figure("up", "Whether the database answered this scrape: 1, or 0.")
COLLECTED = Figure("collector_success", "Whether the figures of a source could be read: 1, or 0.", ("collector",))


def read_sources(sources: Sequence[Source]) -> Iterator[Value]:
    """Yield the figures of all sources that answer in WAIT_SECONDS, the first of which is the database's."""
    deadline = time.monotonic() + WAIT_SECONDS
    for source in sources:
        source.request()
    answered = [source.wait(deadline) for source in sources]
    yield UP.value(answered[0])
    for source, has_answered in zip(sources, answered, strict=True):
        yield COLLECTED.value(has_answered, source.name)
        yield from source.values if has_answered else ()


def build_metrics(values: Iterable[Value]) -> Iterator[Metric]:
    """Group values into metrics: the samples of one have to stand together."""
    metrics: dict[Figure, Metric] = {}
    for figure, labels, value in values:
        metric = metrics.setdefault(figure, Metric(f"{PREFIX}_{figure.name}", figure.text, GAUGE))
        metric.add_sample(metric.name, dict(zip(figure.labels, labels, strict=True)), value)
    yield from metrics.values()
