"""The caches of a process: bounded, safe to share between threads, empty after a fork, cleared together by tests."""

import os
import time
from collections.abc import Callable, Hashable
from threading import RLock
from typing import Generic, TypeVar
from weakref import WeakSet

from cachetools import Cache as Entries
from cachetools import LRUCache, TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `maxsize` entries; the least recently used leave first. With `seconds`, an entry expires so long after it
    was set, however often it is read. A read takes about 2 µs."""

    def __init__(self, maxsize: int, seconds: float | None = None) -> None:
        self.maxsize, self.seconds = maxsize, seconds
        self.reset()
        _caches.add(self)

    def reset(self) -> None:
        """Start empty, with a new lock: after a fork the old one may be held by a thread that the child does not have.
        The parent's entries may own threads and sockets that the child may not use."""
        self._lock = RLock()
        self._entries: Entries[K, V] = (
            LRUCache(self.maxsize) if self.seconds is None else TTLCache(self.maxsize, self.seconds, time.monotonic)
        )

    def get(self, key: K) -> V | None:
        with self._lock:
            try:
                return self._entries[key]
            except KeyError:
                return None

    def set(self, key: K, value: V) -> None:
        with self._lock:
            self._entries[key] = value

    def get_or_create(self, key: K, create: Callable[[], V], is_valid: Callable[[V], bool] = lambda value: True) -> V:
        """Return the valid entry, or set a new one. Other threads wait meanwhile, so it is created once."""
        with self._lock:
            value = self.get(key)
            if value is None or not is_valid(value):
                self.set(key, value := create())
            return value

    def discard(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def items(self) -> list[tuple[K, V]]:
        with self._lock:
            return list(self._entries.items())

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


_caches: WeakSet[Cache] = WeakSet()


def clear_all_caches() -> None:
    for cache in list(_caches):
        cache.clear()


def reset_all_caches() -> None:
    for cache in list(_caches):
        cache.reset()


os.register_at_fork(after_in_child=reset_all_caches)
