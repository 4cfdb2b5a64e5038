"""What is due at BACKUP_TARGET: copies of new and changed backups, the ledger, and no copies that are too old."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from django.conf import settings

from memory_site.core.leases.leases import hold_lease
from memory_site.operations.backups.folder import StoredBackup, list_stored
from memory_site.operations.backups.rotate import choose_outdated, get_retention
from memory_site.operations.backups.rows import store_row
from memory_site.operations.erasures.carry import find_ledger
from memory_site.operations.erasures.ledger import LedgerProblem
from memory_site.operations.models import Backup, BackupState, OffsiteState
from memory_site.operations.offsite.copies import copy_backup, is_copied, list_copies, open_target, remove_copy
from memory_site.operations.offsite.ledger import exchange_ledger
from memory_site.operations.offsite.target import OffsiteProblem, Target

log = logging.getLogger(__name__)
LEASE = "off-site copies"
BUSY = "Another process copies backups to BACKUP_TARGET. Nothing was done."
COPIED_STATES = (BackupState.WRITTEN, BackupState.VERIFIED)

#: Gets the share that is done of one backup's copy, and what is being done.
OnProgress = Callable[[float, str], None]


def copy_due_backups(on_progress: OnProgress = lambda share, what: None) -> list[StoredBackup]:
    """Copy every good backup of the folder that the target lacks, and the ledger. Return what was copied.

    Each backup's row says whether it was. Raises OffsiteProblem for the first that could not be, after the others were
    tried; AlreadyRunning.
    """
    with hold_lease(LEASE, BUSY):
        good = [stored for stored in list_stored() if stored.state in COPIED_STATES]
        try:
            target = open_target()
            files = target.list_files()
        except OffsiteProblem as error:
            note_failure(good, error)
            raise
        exchange_quietly(target)
        due = [stored for stored in good if not is_copied(stored, files)]
        for stored in good:
            if stored not in due:
                note_copied(stored, target)
        copy_all(due, target, on_progress)
    return due


def copy_all(due: list[StoredBackup], target: Target, on_progress: OnProgress) -> None:
    problems = []
    for stored in due:
        try:
            copy_backup(stored, target, partial(report, on_progress, f"copying {stored.name}"))
            note_copied(stored, target)
        except (OffsiteProblem, OSError) as error:  # the folder may be away too
            problem = (
                error if isinstance(error, OffsiteProblem) else OffsiteProblem(f"{stored.name}: {error.strerror}.")
            )
            note_failure([stored], problem)
            problems.append(problem)
    if problems:
        raise problems[0]


def report(on_progress: OnProgress, what: str, share: float) -> None:
    on_progress(share, what)


def exchange_quietly(target: Target) -> None:
    """Exchange the ledger. What stands in the way of that must not keep a backup from its copy."""
    path = find_ledger()
    try:
        if path is not None:
            exchange_ledger(path, target)
    except (LedgerProblem, OffsiteProblem) as error:
        log.warning("The ledger of erasures was not copied: %s", error)


def note_copied(stored: StoredBackup, target: Target) -> None:
    url = f"{target.url.rstrip('/')}/{stored.path.name}"
    note(stored, offsite_state=OffsiteState.COPIED, offsite_url=url, offsite_error="")


def note_failure(backups: list[StoredBackup], error: OffsiteProblem) -> None:
    """Note why backups were not copied. A copy that was made before is still there."""
    for stored in backups:
        if not Backup.objects.filter(name=stored.name, offsite_state=OffsiteState.COPIED).exists():
            note(stored, offsite_state=OffsiteState.FAILED, offsite_error=str(error))


def note(stored: StoredBackup, **values: str) -> None:
    if not Backup.objects.filter(name=stored.name).update(**values):
        store_row(stored)
        Backup.objects.filter(name=stored.name).update(**values)


def rotate_copies(*, dry_run: bool = False) -> list[StoredBackup]:
    """Remove the copies that are no longer kept, by the rules of the folder. Return them.

    They are chosen among the copies, so that a folder that was lost takes no copy with it. Raises OffsiteProblem,
    AlreadyRunning.
    """
    with hold_lease(LEASE, BUSY):
        target = open_target()
        copies = list_copies(target, Path(settings.BACKUP_DIR or ""))
        outdated = choose_outdated([copy for copy in copies if copy.manifest], get_retention(), datetime.now(UTC))
        for copy in () if dry_run else outdated:
            remove_copy(copy, target)
    return outdated
