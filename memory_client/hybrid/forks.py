"""What a fork waits for: SQLite's own locks would stay locked in the child if a thread of its parent held one then."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: So long a fork waits for threads that use SQLite. One that waits for another process's transaction may take longer.
MAX_WAIT_SECONDS = 10.0


class ForkGate:
    """Threads pass through it to use SQLite. A fork closes it and waits until all others have left."""

    def __init__(self) -> None:
        self._inside: Counter[int] = Counter()
        self._prepare()

    def _prepare(self) -> None:
        self._changed, self._forks = threading.Condition(), 0

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside during the block. A thread that is inside already never waits: a fork waits for it."""
        thread = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._forks or thread in self._inside)
            self._inside[thread] += 1
        try:
            yield
        finally:
            with self._changed:
                self._leave(thread)

    def _leave(self, thread: int) -> None:
        self._inside[thread] -= 1
        if not self._inside[thread]:
            del self._inside[thread]
        self._changed.notify_all()

    def close(self) -> None:
        """Let no other thread in, and hold the lock over the fork, so that the child finds it as it should be."""
        thread = threading.get_ident()
        self._changed.acquire()
        self._forks += 1
        self._changed.wait_for(lambda: not self._inside.keys() - {thread}, MAX_WAIT_SECONDS)

    def open(self) -> None:
        """Go on in the parent."""
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def forget(self) -> None:
        """Begin in the child, where the forking thread is the only one."""
        thread = threading.get_ident()
        self._inside = Counter({thread: self._inside[thread]} if thread in self._inside else {})
        self._prepare()


GATE = ForkGate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.close, after_in_parent=GATE.open, after_in_child=GATE.forget)
