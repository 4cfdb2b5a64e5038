"""The rows of backups in the database, kept equal to the folder."""

import time
from pathlib import Path
from typing import Any

from django.db import DatabaseError
from django.utils.dateparse import parse_datetime

from memory_site.core.leases.process import has_ended
from memory_site.operations.backups.folder import (
    FOREIGN,
    PARTIAL_SUFFIX,
    StoredBackup,
    list_possible_files,
    list_stored,
)
from memory_site.operations.models import Backup, BackupState, OffsiteState

INTERRUPTED = "It was interrupted before it was written."
PROGRESS_INTERVAL_SECONDS = 1.0


class RowProgress:
    """Notes the progress of work on a backup in its row, once a second at most."""

    def __init__(self, name: str) -> None:
        self.name, self._noted = name, 0.0

    def note(self, share: float, message: str) -> None:
        now = time.monotonic()
        if now - self._noted >= PROGRESS_INTERVAL_SECONDS:
            self._noted = now
            Backup.objects.filter(name=self.name).update(progress=min(max(share, 0), 1), message=message)


def sync_rows(directory: Path) -> list[StoredBackup]:
    """Make the rows say what the folder says; rows of backups that are gone are deleted. Return the folder's backups.

    Rows of backups that are being made, or were interrupted, have no manifest and stay.
    """
    stored = list_stored(directory)
    for backup in stored:
        store_row(backup)
    gone = Backup.objects.exclude(name__in=[backup.name for backup in stored])
    gone.filter(written_at__isnull=False).delete()
    return stored


def store_row(stored: StoredBackup) -> Backup:
    """Write what the folder says of a backup into its row. A foreign one is bad: this site cannot restore it."""
    row, _ = Backup.objects.update_or_create(name=stored.name, defaults=build_values(stored))
    return row


def build_values(stored: StoredBackup) -> dict[str, Any]:
    verification, manifest = stored.verification, stored.manifest
    written = manifest.get("written_at")
    return {
        "state": BackupState.BAD if stored.state == FOREIGN else stored.state,
        "progress": 1,
        "message": stored.message,
        "started_at": stored.started_at,
        "written_at": parse_datetime(written) if written else stored.started_at,
        "verified_at": parse_datetime(verification["at"]) if stored.is_verified else None,
        "restore_seconds": verification.get("restore_seconds"),
        "size_bytes": stored.size_bytes,
        "pinned": stored.pinned,
        "encrypted": stored.encrypted,
        "manifest": manifest,
    }


def list_backups(directory: Path) -> list[dict[str, Any]]:
    """Return what a list shows of each backup: those of the folder, and those that are made or were interrupted."""
    rows = read_rows()
    stored = [describe_stored(each, rows.get(each.name)) for each in list_stored(directory)]
    names = {each["name"] for each in stored}
    unfinished = [row for row in rows.values() if row.written_at is None and row.name not in names]
    return sorted([*stored, *map(describe_unfinished, unfinished)], key=lambda each: each["started_at"], reverse=True)


def read_rows() -> dict[str, Backup]:
    """Return the rows by name; none where the database is missing or empty: the folder is what counts."""
    try:
        return {row.name: row for row in Backup.objects.all()}
    except DatabaseError:
        return {}


def describe_stored(stored: StoredBackup, row: Backup | None) -> dict[str, Any]:
    verified = stored.verification.get("at") if stored.is_verified else None
    return {
        "name": stored.name,
        "state": stored.state,
        "started_at": stored.started_at.replace(microsecond=0),
        "size_bytes": stored.size_bytes,
        "verified_at": parse_datetime(verified).replace(microsecond=0) if verified else None,  # type: ignore[union-attr]
        "restore_seconds": stored.verification.get("restore_seconds"),
        "pinned": stored.pinned,
        "encrypted": stored.encrypted,
        "offsite": row.offsite_state if row else OffsiteState.NONE,
        "message": stored.message,
    }


def describe_unfinished(row: Backup) -> dict[str, Any]:
    ended = is_interrupted(row)
    nothing = dict.fromkeys(("size_bytes", "verified_at", "restore_seconds"))
    return {
        "name": row.name,
        "state": str(BackupState.BAD) if ended else row.state,
        "started_at": row.started_at.replace(microsecond=0),
        **nothing,
        "pinned": False,
        "encrypted": row.encrypted,
        "offsite": str(OffsiteState.NONE),
        "message": INTERRUPTED if ended else row.message,
    }


def clean_up(directory: Path) -> list[str]:
    """Remove what killed backups left, for the holder of the lease. Return their names.

    Besides drafts, only the file of a backup that this database knows to be unfinished: what an operator put there
    stays.
    """
    for draft in directory.glob(f"memory-*{PARTIAL_SUFFIX}"):
        draft.unlink(missing_ok=True)
    interrupted = list(Backup.objects.filter(state=BackupState.RUNNING))
    for row in interrupted:
        if not (directory / f"{row.name}.json").exists():
            for name in list_possible_files(row.name):
                (directory / name).unlink(missing_ok=True)
            mark_interrupted(row.name, INTERRUPTED)
    return [row.name for row in interrupted]


def mark_interrupted(name: str, reason: str) -> None:
    Backup.objects.filter(name=name).update(state=BackupState.BAD, message=reason)


def is_interrupted(row: Backup) -> bool:
    """Return whether the process that makes a backup has ended, on this machine."""
    return row.state == BackupState.RUNNING and has_ended(row.process)
