"""The directory in which the programs of one `serve` count."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from memory_site.core.metrics.directory import MetricsDirectory, take_lock

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
TEMPORARY_PREFIX = "memory-site-metrics-"
HOLDER = "serve.lock"


@contextmanager
def share_directory() -> Iterator[Path]:
    """Provide a directory inside the block, and name it in the environment, for the programs that are started there.

    Raises OSError if it cannot be used.
    """
    with provide_directory() as path:
        MetricsDirectory(path).start_over()
        os.environ[VARIABLE] = str(path)
        yield path


@contextmanager
def provide_directory() -> Iterator[Path]:
    """Provide the one that the settings name, or a temporary one. That of a `serve` that was killed is removed."""
    if settings.METRICS_DIRECTORY is not None:
        yield settings.METRICS_DIRECTORY
        return
    for left in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        remove_if_abandoned(left)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, ignore_cleanup_errors=True) as name, hold(Path(name)):
        yield Path(name)


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    with (directory / HOLDER).open("ab") as holder:
        take_lock(holder, fcntl.LOCK_SH, seconds=0)
        yield


def remove_if_abandoned(directory: Path) -> None:
    with suppress(OSError), (directory / HOLDER).open("rb") as holder:
        if directory.stat().st_uid == os.geteuid() and take_lock(holder, fcntl.LOCK_EX, seconds=0):
            shutil.rmtree(directory)
