"""Delete old backups: days, weeks and months are kept; the newest verified one and pinned ones always."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups.folder import FOREIGN, StoredBackup, list_stored, prepare_directory
from memory_site.operations.backups.make import BUSY, LEASE
from memory_site.operations.backups.rows import clean_up, sync_rows
from memory_site.operations.backups.verify import drop_scratch_databases
from memory_site.operations.models import Backup, BackupState
from memory_site.operations.restore.databases import drop_left_draft


@dataclass(frozen=True)
class Retention:
    """For how many days every backup is kept, and for how many weeks and months one verified backup each."""

    days: int
    weeks: int
    months: int


def get_retention() -> Retention:
    return Retention(settings.BACKUP_RETENTION_DAYS, settings.BACKUP_RETENTION_WEEKS, settings.BACKUP_RETENTION_MONTHS)


def rotate_backups(*, dry_run: bool = False) -> list[StoredBackup]:
    """Delete the backups that are no longer kept. Return them. Raises BackupProblem, AlreadyRunning."""
    directory = prepare_directory()
    if dry_run:
        return choose_outdated(list_stored(directory), get_retention(), datetime.now(UTC))
    with hold_lease(LEASE, BUSY) as lease:
        clean_up(directory)
        drop_scratch_databases()
        drop_left_draft()
        outdated = choose_outdated(list_stored(directory), get_retention(), datetime.now(UTC))
        for backup in outdated:
            lease.check()
            backup.delete()
        sync_rows(directory)
        forget_interrupted()
    return outdated


def choose_outdated(backups: Sequence[StoredBackup], retention: Retention, now: datetime) -> list[StoredBackup]:
    """Return what may be deleted: old, not pinned, no week's or month's, and older than a verified backup.

    So nothing is deleted while nothing is verified, and the newest verified backup never. What belongs to another site
    is left alone.
    """
    verified = [backup for backup in backups if backup.is_verified]
    if not verified:
        return []
    newest = max(backup.started_at for backup in verified)
    limit = min(now - timedelta(days=retention.days), newest)
    kept = {backup.name for backup in choose_kept(verified, retention)}
    return [
        backup
        for backup in backups
        if backup.started_at < limit and backup.state != FOREIGN and not backup.pinned and backup.name not in kept
    ]


def choose_kept(verified: Sequence[StoredBackup], retention: Retention) -> list[StoredBackup]:
    """Return the youngest verified backup of each of the last weeks and months that have one."""
    youngest_first = sorted(verified, key=lambda backup: backup.started_at, reverse=True)
    weeks: dict[object, StoredBackup] = {}
    months: dict[object, StoredBackup] = {}
    for backup in youngest_first:
        weeks.setdefault(tuple(backup.started_at.isocalendar())[:2], backup)
        months.setdefault((backup.started_at.year, backup.started_at.month), backup)
    return [*list(weeks.values())[: retention.weeks], *list(months.values())[: retention.months]]


def forget_interrupted() -> None:
    """Delete the rows of backups that were never finished, after the time that a backup is kept."""
    limit = datetime.now(UTC) - timedelta(days=settings.BACKUP_RETENTION_DAYS)
    Backup.objects.filter(state=BackupState.BAD, written_at=None, started_at__lt=limit).delete()
