"""Room for backups and scratch databases: they never take what the site itself needs to go on."""

import shutil
from pathlib import Path

from django.conf import settings

from memory_site.core.admin.formatting import format_size
from memory_site.operations.backups.problems import BackupProblem
from memory_site.operations.health.disk import MIN_FREE_BYTES, MIN_FREE_SHARE

#: Of the size of a database: indexes are built beside what they sort, and the log of changes is written.
DATABASE_FACTOR = 1.2


class NoSpace(BackupProblem):
    """The disk is too small for what was asked for. Nothing was done."""


def require_space(directory: Path, needed: float, what: str) -> None:
    """Raise NoSpace if so many bytes would leave less free than health calls little."""
    usage = shutil.disk_usage(directory)
    kept = min(MIN_FREE_SHARE * usage.total, MIN_FREE_BYTES)
    if usage.free < needed + kept:
        raise NoSpace(
            f"There is no room for {what} in {directory}: it needs about {format_size(needed)}, and of "
            f"{format_size(usage.free)} that are free {format_size(kept)} stay free."
        )


def require_space_for_database(size_bytes: int) -> None:
    """Raise NoSpace if the embedded server's disk has no room for another database. No other server's disk is seen."""
    if settings.EMBEDDED:
        require_space(settings.HOME.path, DATABASE_FACTOR * size_bytes, "a scratch database")
