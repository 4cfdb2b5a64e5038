"""Where the library's metrics keep their values: in the file of this process, or in memory alone."""

import logging
import os
from collections.abc import Sequence
from functools import cache
from threading import Lock

from django.conf import settings
from prometheus_client import values
from prometheus_client.mmap_dict import mmap_key

from memory_site.core.metrics.directory import MetricsDirectory, ProcessFile

log = logging.getLogger(__name__)


class Storage:
    """The file of this process. It is opened by the first value that changes: most commands count nothing."""

    def __init__(self) -> None:
        self.generation = 0
        self.file: ProcessFile | None = None
        self.reset()

    def reset(self) -> None:
        """Start from 0: after a fork the file is the parent's, and a thread that the child lacks may hold the lock."""
        if self.file is not None:
            self.file.close()
        self.file, self.is_open = None, False
        self.lock = Lock()
        self.generation += 1

    def write(self, key: str, value: float) -> None:
        """Write a value. Where that is impossible, this process counts in memory from now on, which no scrape sees."""
        try:
            if not self.is_open:
                self.is_open, directory = True, get_directory()
                self.file = directory.open_file() if directory else None
            if self.file is not None:
                self.file.write(key, value)
        except OSError as error:
            self.file = None
            log.warning("What this process counts is missing in /metrics: %s", error)


@cache
def get_directory() -> MetricsDirectory | None:
    """Return the directory that `serve` has made, or the operator; None without one."""
    path = settings.METRICS_DIRECTORY
    return MetricsDirectory(path) if path is not None and path.is_dir() else None


storage = Storage()
os.register_at_fork(after_in_child=storage.reset)


class StoredValue:
    """One value of a metric, as the library calls it. In a child process it begins at 0."""

    _multiprocess = True

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **_: object,
    ) -> None:
        self._key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        self._value, self._generation = 0.0, storage.generation

    def inc(self, amount: float) -> None:
        with storage.lock:
            if self._generation != storage.generation:
                self._value, self._generation = 0.0, storage.generation
            self._value += amount
            storage.write(self._key, self._value)

    def set(self, value: float, timestamp: float | None = None) -> None:
        with storage.lock:
            self._value, self._generation = value, storage.generation
            storage.write(self._key, value)

    def get(self) -> float:
        return self._value if self._generation == storage.generation else 0.0

    def set_exemplar(self, exemplar: object) -> None:
        """Keep no exemplars, like the library itself where several processes count."""

    def get_exemplar(self) -> None:
        return None


def use_own_values() -> None:
    """Have the metrics that are made from now on keep their values as `StoredValue`.

    The library looks the class up by this name whenever it makes a value. Its own one finds its directory by a variable
    of the environment, opens files when a module is imported, and takes the same file again for a reused process id.
    """
    values.ValueClass = StoredValue
