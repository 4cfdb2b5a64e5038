"""What beat has a worker do at BACKUP_TARGET. Each is safe to run twice, in parallel, or late."""

import logging

from celery import shared_task
from django.conf import settings

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.erasures.carry import carry_erasures, find_ledger
from memory_site.operations.offsite.copies import open_target
from memory_site.operations.offsite.ledger import exchange_ledger
from memory_site.operations.offsite.work import copy_due_backups, rotate_copies

log = logging.getLogger(__name__)
#: When the ledger here was last changed, as of the last exchange by this process, in nanoseconds.
_exchanged: dict[str, int] = {}


@shared_task
def append_erasures() -> int:
    """Append to the ledger beside the backups what it lacks, if this worker has a BACKUP_DIR, and to its copy. Return
    how many entries. The web server does the first at once where it can. Raises OffsiteProblem."""
    appended = carry_erasures()
    path = find_ledger()
    if settings.BACKUP_TARGET and path is not None and path.exists() and is_changed(str(path), path.stat().st_mtime_ns):
        exchange_ledger(path, open_target())
        _exchanged[str(path)] = path.stat().st_mtime_ns
    return appended


def is_changed(path: str, modified: int) -> bool:
    return _exchanged.get(path) != modified


@shared_task
def copy_new_backups() -> int:
    """Copy what BACKUP_TARGET lacks. Return how many backups. Raises OffsiteProblem, which health shows; the next run
    tries again."""
    if settings.BACKUP_TARGET is None or settings.BACKUP_DIR is None:
        return 0
    try:
        return len(copy_due_backups())
    except AlreadyRunning as error:
        log.info("No copies: %s", error)
        return 0


@shared_task
def rotate_old_copies() -> int:
    """Remove the copies that are no longer kept. Return how many."""
    if settings.BACKUP_TARGET is None:
        return 0
    try:
        return len(rotate_copies())
    except AlreadyRunning as error:
        log.info("No rotation of copies: %s", error)
        return 0
