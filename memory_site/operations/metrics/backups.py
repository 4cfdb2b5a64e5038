"""Figures of the backups. Only a verified one counts; times are those at which the data were read."""

from collections.abc import Iterator

from django.db.models import Count

from memory_site.operations.metrics.figures import Figure, Value
from memory_site.operations.models import Backup
from memory_site.operations.models.backups import BackupState, OffsiteState

BACKUPS = Figure("backups", "Backups by state.", ("state",))
LAST = Figure(
    "backup_last_timestamp_seconds",
    "Moment of the data in the newest backup that was written, verified or copied off-site; 0 without one.",
    ("state",),
)
VERIFIED_AT = Figure(
    "backup_last_verification_timestamp_seconds", "When a backup was last restored and found equal; 0: never."
)
SIZE = Figure("backup_last_size_bytes", "Size of the newest verified backup.")
RESTORE = Figure("backup_last_restore_seconds", "How long the restore took by which it was verified.")
FIGURES = (BACKUPS, LAST, VERIFIED_AT, SIZE, RESTORE)


def read_backups() -> Iterator[Value]:
    """Yield the figures of all backups."""
    numbers = dict(Backup.objects.order_by().values_list("state").annotate(number=Count("pk")))
    for state in BackupState.values:
        yield BACKUPS.value(numbers.get(state, 0), state)
    written = Backup.objects.filter(state__in=[BackupState.WRITTEN, BackupState.VERIFIED])
    copied = written.filter(offsite_state=OffsiteState.COPIED)
    for name, rows in (("written", written), ("verified", Backup.objects.verified()), ("offsite", copied)):
        yield LAST.value(to_timestamp(rows.order_by("-started_at").values_list("started_at", flat=True).first()), name)
    yield from read_verification()


def read_verification() -> Iterator[Value]:
    """Yield the figures of the latest verification, and of the newest verified backup."""
    latest = Backup.objects.filter(verified_at__isnull=False).order_by("-verified_at").first()
    yield VERIFIED_AT.value(to_timestamp(latest and latest.verified_at))
    newest = Backup.objects.latest_verified()
    if newest is not None:
        yield SIZE.value(newest.size_bytes or 0)
        yield RESTORE.value(newest.restore_seconds or 0)


def to_timestamp(moment) -> float:
    return moment.timestamp() if moment else 0.0
