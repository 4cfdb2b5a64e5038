"""What beat has done for recovery to a moment, where it is enabled: due base backups, and a weekly drill."""

import logging
from contextlib import suppress

from celery import shared_task
from django.conf import settings

from memory_site.core.db.locks import AlreadyRunning
from memory_site.embedded.wal_archive.settings import ArchiveSettings
from memory_site.operations.pitr.base_backup import take_base
from memory_site.operations.pitr.drill import run_drill
from memory_site.operations.pitr.exclusive import exclusive_work
from memory_site.operations.pitr.facts import get_pitr_facts

logger = logging.getLogger(__name__)


def read_enabled_settings() -> ArchiveSettings | None:
    """Return the settings, or None where nothing is archived."""
    stored = ArchiveSettings.read(settings.HOME) if settings.EMBEDDED else None
    return stored if stored is not None and stored.enabled else None


@shared_task
def take_due_base() -> None:
    """Make a base backup when one is due: weekly, and after a gap of the log as soon as the archive works again."""
    stored = read_enabled_settings()
    if stored is None:
        return
    facts = get_pitr_facts()
    if facts.base_due and facts.archiver and facts.archiver.archiving and not facts.archiver.failing:
        logger.warning("A base backup is made: %s", facts.base_due)
        with suppress(AlreadyRunning), exclusive_work(settings.HOME):
            take_base(settings.HOME, stored)


@shared_task
def drill_recovery() -> None:
    """Run the weekly drill."""
    stored = read_enabled_settings()
    if stored is None:
        return
    with suppress(AlreadyRunning), exclusive_work(settings.HOME):
        result = run_drill(settings.HOME, stored)
        logger.log(logging.INFO if result.ok else logging.ERROR, "Drill of recovery: %s", result.message)
