"""The health check of recovery to a moment: whether the archive of the log is whole, and proven."""

from datetime import datetime, timedelta

from django.utils import timezone

from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.pitr.facts import BASE_INTERVAL, PitrFacts, get_pitr_facts

#: A gigabyte of log that is not archived yet.
MAX_WAITING_SEGMENTS = 64
#: A weekly base backup or drill that was missed, and a day.
MAX_BASE_AGE = BASE_INTERVAL + timedelta(days=1)
MAX_DRILL_AGE = timedelta(days=15)
STATUS, BASE, DRILL = (f"python manage.py pitr {name}" for name in ("status", "base", "drill"))


def check_recovery() -> CheckResult:
    """Check the archive of the log where it is switched on: archiving, gaps, base backup and drill, in this order."""
    facts = get_pitr_facts()
    if not facts.enabled:
        return HealthStatus.HEALTHY, "Recovery to a moment is not switched on."
    return check_archive(facts) or check_proof(facts) or describe_windows(facts)


def check_archive(facts: PitrFacts) -> CheckResult | None:
    """Return what is wrong with archiving, or None."""
    archiver = facts.archiver
    if archiver is None:
        return HealthStatus.DEGRADED, "PostgreSQL does not answer.", STATUS
    if not archiver.archiving:
        return HealthStatus.DEGRADED, "PostgreSQL archives nothing.", "python manage.py pitr enable"
    if archiver.failing:
        return HealthStatus.DEGRADED, f"{archiver.last_failed_wal} cannot be archived.", STATUS
    if facts.waiting_segments > MAX_WAITING_SEGMENTS:
        return HealthStatus.DEGRADED, f"{facts.waiting_segments:,} segments wait to be archived.", STATUS
    if facts.lost_since_base:
        lost = f"{facts.lost_since_base:,} segments of the log behind the last base backup are lost"
        return HealthStatus.DEGRADED, f"{lost}: no time after them can be recovered.", BASE
    return None


def check_proof(facts: PitrFacts) -> CheckResult | None:
    """Return what is missing of base backup and drill, or None."""
    if facts.base_due and (facts.last_base_at is None or is_older(facts.last_base_at, MAX_BASE_AGE)):
        return HealthStatus.DEGRADED, f"A base backup is due: {facts.base_due}.", BASE
    drill = facts.last_drill
    if drill is not None and not drill["ok"]:
        return HealthStatus.DEGRADED, f"The last drill failed: {drill['message']}", DRILL
    proven_at = datetime.fromisoformat(drill["at"]) if drill else find_first_use(facts)
    if is_older(proven_at, MAX_DRILL_AGE):
        return HealthStatus.DEGRADED, "Recovery was not tried for two weeks.", DRILL
    return None


def describe_windows(facts: PitrFacts) -> CheckResult:
    since = min((window.since for window in facts.windows), default=None)
    if since is None:
        return HealthStatus.DEGRADED, "No time can be recovered.", BASE
    return (
        HealthStatus.HEALTHY,
        f"Every moment since {since:%Y-%m-%d %H:%M} UTC; {facts.waiting_segments} segments wait.",
    )


def find_first_use(facts: PitrFacts) -> datetime:
    return facts.bases[0].written_at if facts.bases else timezone.now()


def is_older(moment: datetime, age: timedelta) -> bool:
    return timezone.now() - moment > age
