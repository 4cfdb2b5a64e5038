"""A file that keeps space for the recovery of PostgreSQL on a full disk.

Without space for one segment of its log the server does not start, and nothing can be read. The file is given up then;
requests that store are refused long before (memory_site/core/disk_space.py).
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

RESERVE_BYTES = 64 * 2**20
#: Three segments of the log. With less the reserve is given up.
FULL_BYTES = 48 * 2**20
#: The reserve is made again when so much is free.
AMPLE_BYTES = 512 * 2**20
CHUNK = bytes(2**20)


class Reserve:
    """The file `reserve` of a data directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "reserve"

    def adjust(self) -> None:
        """Give the space up if the disk is full; keep it if there is plenty."""
        free = shutil.disk_usage(self.path.parent).free
        if free < FULL_BYTES and self.path.exists():
            self.path.unlink()
            logger.warning("The disk is full: the reserve of %d MB was given up.", RESERVE_BYTES // 2**20)
        elif free > AMPLE_BYTES and not self.path.exists():
            self._allocate()

    def _allocate(self) -> None:
        with suppress(OSError), self.path.open("xb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            else:
                for _ in range(RESERVE_BYTES // len(CHUNK)):
                    file.write(CHUNK)
