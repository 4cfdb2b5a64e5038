"""The health check of jobs: none is open without a worker."""

from django.db.models.functions import Now

from memories.jobs.models import OPEN_STATES, WORKER_TIMEOUT, Job, JobState
from memory_site.operations.health.results import CheckResult, HealthStatus


def check_jobs() -> CheckResult:
    """Check that each job that a worker has begun shows a sign of work. Others wait for it, unless none is at work."""
    open_jobs = Job.objects.filter(state__in=OPEN_STATES).order_by()
    waiting = open_jobs.filter(state=JobState.PENDING).count()
    at_work = open_jobs.exclude(state=JobState.PENDING)
    alive = at_work.filter(last_heartbeat_at__gte=Now() - WORKER_TIMEOUT).count()
    stuck = at_work.count() - alive
    if not alive:
        stuck += Job.objects.stuck().filter(state=JobState.PENDING).count()
    if stuck:
        return HealthStatus.DEGRADED, f"{stuck:,} jobs are open, and no worker has done anything for them for a minute."
    return HealthStatus.HEALTHY, f"{alive:,} jobs run, {waiting:,} wait."
