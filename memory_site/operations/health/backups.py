"""The health check of the backups: only one that was restored and compared counts."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Min
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from memory_site.operations.backups.facts import BackupFacts, read_backup_facts
from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.models import Backup, OffsiteState

SCHEDULE = "make a backup"
#: A nightly backup that was missed, with some hours for the night and the machine's own pauses.
MAX_AGE = timedelta(hours=36)
#: Large databases are restored and compared once a week.
MAX_VERIFIED_AGE = timedelta(days=9)
#: A worker copies a backup within the hour; a large one takes hours.
MAX_COPY_AGE = timedelta(hours=12)
#: A backup that seems younger than all that follow would hide for years that none is made.
MAX_CLOCK_ERROR = timedelta(hours=1)
REMOVE = "delete its files from BACKUP_DIR, then: python manage.py backup --verify"
CONFIGURE = "BACKUP_DIR in .env; or, if something else backs this database up, switch its schedule off in the console"
MAKE, VERIFY = "python manage.py backup --verify", "python manage.py verify_backup"


def check_backups() -> CheckResult:
    """Check that a recent backup exists, that it was restored and compared, and that its copy is where it should be.

    A site younger than MAX_AGE has not had its first night. Who switches the schedule off has other backups.
    """
    if not PeriodicTask.objects.filter(name=SCHEDULE, enabled=True).exists() and not is_young():
        return HealthStatus.HEALTHY, "Their schedule is switched off."
    facts = read_backup_facts()
    if not facts.is_supported:
        return HealthStatus.HEALTHY, "A Citus cluster is backed up node by node, with other tools."
    if not facts.is_configured:
        status = HealthStatus.HEALTHY if is_young() else HealthStatus.DEGRADED
        return status, "There is no place for backups.", CONFIGURE
    return check_existing(facts)


def check_existing(facts: BackupFacts) -> CheckResult:
    """Check that no backup is bad, and that the last one is recent."""
    if facts.bad:
        return HealthStatus.DEGRADED, " ".join(facts.bad), MAKE
    if facts.latest_started_at is None:
        if is_young():
            return HealthStatus.HEALTHY, "None yet: the first one is made at 02:00 UTC."
        return HealthStatus.DEGRADED, "There is none.", MAKE
    if facts.latest_started_at > timezone.now() + MAX_CLOCK_ERROR:
        said = f"The last one is of {format_time(facts.latest_started_at)}, which is yet to come: a clock was wrong."
        return HealthStatus.DEGRADED, said, REMOVE
    if is_older(facts.latest_started_at, MAX_AGE):
        return HealthStatus.DEGRADED, f"The last one is of {format_time(facts.latest_started_at)}.", MAKE
    return check_verified(facts)


def check_verified(facts: BackupFacts) -> CheckResult:
    """Check that a backup was verified lately, and that the last one is copied."""
    verified = facts.latest_verified_started_at
    if verified is None or is_older(facts.last_verification_at, MAX_VERIFIED_AGE):
        last = f"since {format_time(verified)}" if verified else "yet"
        return HealthStatus.DEGRADED, f"None was restored and compared {last}.", VERIFY
    if error := find_copy_error():
        return HealthStatus.DEGRADED, f"The last one is not at BACKUP_TARGET: {error}", MAKE
    restored = f", restored in {facts.restore_seconds:.0f} s" if facts.restore_seconds is not None else ""
    last = format_time(facts.latest_started_at)
    return (
        HealthStatus.HEALTHY,
        f"The last one is of {last}, the last verified one of {format_time(verified)}{restored}.",
    )


def find_copy_error() -> str:
    """Return why the latest verified backup is not at BACKUP_TARGET, if it should be by now."""
    latest = Backup.objects.latest_verified()
    if latest is None or latest.offsite_state == OffsiteState.COPIED:
        return ""
    is_late = settings.BACKUP_TARGET and is_older(latest.started_at, MAX_COPY_AGE)
    return latest.offsite_error or ("no worker has tried." if is_late else "")


def is_young() -> bool:
    """Return whether the site was created less than MAX_AGE ago."""
    created = MigrationRecorder.Migration.objects.aggregate(at=Min("applied"))["at"]
    return created is None or not is_older(created, MAX_AGE)


def is_older(moment: datetime | None, age: timedelta) -> bool:
    return moment is None or timezone.now() - moment > age


def format_time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
