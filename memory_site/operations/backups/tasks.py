"""What beat and the console have a worker do with backups."""

import logging
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.utils import timezone

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.folder import StoredBackup, find_stored
from memory_site.operations.backups.make import make_backup
from memory_site.operations.backups.problems import BackupsNotConfigured, BackupsNotSupported
from memory_site.operations.backups.rotate import rotate_backups
from memory_site.operations.backups.verify import verify_backup
from memory_site.operations.models import Backup

log = logging.getLogger(__name__)
#: A database up to this size is restored and compared after each backup, a larger one once a week: most of the work of
#: a restore is the index of the vectors.
MAX_DAILY_BYTES = 1024**3
VERIFICATION_INTERVAL = timedelta(days=6, hours=12)
#: Less than the broker's visibility timeout, after which it would deliver a waiting message twice.
RETRY_SECONDS, MAX_RETRIES = 120, 90


@shared_task
def make_nightly_backup() -> str | None:
    """Make a backup, and verify it if that is due. Return its name; None: there is no place for it, or it is made now.

    Raises BackupProblem, which health shows as the outcome of the schedule.
    """
    try:
        stored = make_backup()
        if is_verification_due(stored):
            stored = verify_backup(stored, gentle=True)
    except (BackupsNotConfigured, BackupsNotSupported, AlreadyRunning) as error:
        log.info("No backup: %s", error)
        return None
    if stored.message:
        log.error("A backup is bad: %s", stored.message)
    return stored.name


def is_verification_due(stored: StoredBackup) -> bool:
    """Return whether the database is small, or no verification ended well for a week."""
    if stored.manifest["database"]["bytes"] <= MAX_DAILY_BYTES:
        return True
    return not Backup.objects.verified().filter(verified_at__gt=timezone.now() - VERIFICATION_INTERVAL).exists()


@shared_task(bind=True, max_retries=MAX_RETRIES)
def rotate_old_backups(self: Task) -> int:
    """Delete the backups that are no longer kept. Return how many. Waits for hours while another process is at work."""
    try:
        return len(rotate_backups())
    except BackupsNotConfigured as error:
        log.info("No rotation: %s", error)
        return 0
    except AlreadyRunning as error:
        raise self.retry(countdown=RETRY_SECONDS, exc=error) from None


@shared_task(bind=True, max_retries=MAX_RETRIES)
def verify_chosen_backup(self: Task, name: str) -> Any:
    """Verify a backup that an operator chose in the console. Return its state."""
    try:
        return str(verify_backup(find_stored(name), gentle=True).state)
    except AlreadyRunning as error:
        raise self.retry(countdown=RETRY_SECONDS, exc=error) from None
