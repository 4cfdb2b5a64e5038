"""Whether the disk of the embedded database has room for more.

PostgreSQL ends with a panic when it cannot write its log, and starts only when there is space again: nothing can be
read until then. So storing is refused, and the worker rests, while there is still room to read, to delete and to
recover. The disk of a database elsewhere is not seen; an error of PostgreSQL says there that it is full.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

#: What eight requests at their limits and the background work of some minutes write.
RESERVED_BYTES = 256 * 2**20
#: Seconds for which a measurement counts.
MEASURED_SECONDS = 0.5
DISK_FULL_DETAIL = "The disk of the database is full, so nothing can be stored. Reading and deleting go on."

_low: tuple[float, bool] = (float("-inf"), False)


def is_disk_low() -> bool:
    """Return whether less than RESERVED_BYTES are free for the embedded database."""
    global _low
    measured_at, low = _low
    if time.monotonic() - measured_at > MEASURED_SECONDS:
        low = settings.EMBEDDED and measure_free_bytes() < RESERVED_BYTES
        _low = time.monotonic(), low
    return low


def measure_free_bytes() -> float:
    """Return the free bytes where the embedded database writes; infinity if that is unknown."""
    data = settings.HOME.path / "postgres"
    return min(count_free_bytes(data), count_free_bytes(data / "pg_wal"))


def count_free_bytes(path: Path) -> float:
    with suppress(OSError):
        info = os.statvfs(path)
        return info.f_bavail * info.f_frsize
    return float("inf")
