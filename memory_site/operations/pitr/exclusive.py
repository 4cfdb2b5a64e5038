"""One base backup, recovery or drill of a data directory at a time. A file lock: there may be no database to ask."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from memory_site.core.db.locks import AlreadyRunning
from memory_site.embedded.data_dir import DataDirectory
from memory_site.operations.pitr.recovery import COPY_PREFIX
from memory_site.operations.pitr.recovery_server import remove_copy

LOCK_FILE = "pitr.lock"
BUSY = "A base backup, a recovery or a drill of this data directory is running: repeat this when it has ended."


@contextmanager
def exclusive_work(home: DataDirectory) -> Iterator[None]:
    """Hold the lock inside the block, and remove first what interrupted recoveries left. Raises AlreadyRunning."""
    descriptor = os.open(home.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(BUSY) from None
        for path in home.path.glob(f"{COPY_PREFIX}*"):
            remove_copy(home, path)
        yield
    finally:
        os.close(descriptor)
