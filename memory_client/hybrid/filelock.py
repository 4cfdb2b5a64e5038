"""A lock on a file, which the operating system releases when its process ends, however it ends."""

import os
import sys
import threading
import weakref
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_locks: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


class FileLock:
    """At most one holder among all threads and processes; taking it never waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._guard = threading.Lock()
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if it is free. Return whether it was."""
        with self._guard:
            if self._descriptor is not None:
                return False
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
            except OSError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def forget(self) -> None:
        """Close a forked process's copy, with which it would hold the lock beyond its parent's life."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._guard = None, threading.Lock()


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
