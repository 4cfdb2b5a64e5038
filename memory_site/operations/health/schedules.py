"""The health check of the scheduled tasks: sent in time, and with success."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from memory_site.operations.health.advice import START_WORKER
from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from memory_site.operations.models import Heartbeat, ProcessKind, ScheduleOutcome

#: Beat writes what it has sent every three minutes. After a start it has as much time to catch up.
GRACE = timedelta(minutes=10)
WORKER_LOG = f"tail -n 100 {settings.HOME.logs / 'worker.log'}" if settings.EMBEDDED else "see the worker's log"


def check_schedules() -> CheckResult:
    """Check that every enabled schedule was sent when it was due, and that its last run did not fail.

    Those that the operator has switched off are named; they are no fault.
    """
    tasks = list(PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").order_by("name"))
    if overdue := list(describe_overdue(tasks)):
        return HealthStatus.DEGRADED, f"Overdue: {', '.join(overdue[:MAX_SAMPLED_ROWS])}.", START_WORKER
    if failing := list_failing({task.name for task in tasks if task.enabled}):
        return HealthStatus.DEGRADED, f"The last run failed: {', '.join(failing)}.", WORKER_LOG
    disabled = [task.name for task in tasks if not task.enabled]
    off = f" Switched off: {', '.join(disabled[:MAX_SAMPLED_ROWS])}." if disabled else ""
    return HealthStatus.HEALTHY, f"{len(tasks) - len(disabled)} schedules are on time.{off}"


def list_failing(names: set[str]) -> list[str]:
    failing = ScheduleOutcome.objects.failing().filter(name__in=names)
    return [f"{outcome.name} ({outcome.error})" for outcome in failing[:MAX_SAMPLED_ROWS]]


def describe_overdue(tasks: list[PeriodicTask]) -> Iterator[str]:
    now = timezone.now()
    return (f"{task.name} ({describe_last_run(task, now)})" for task in find_overdue(tasks))


def find_overdue(tasks: Iterable[PeriodicTask]) -> Iterator[PeriodicTask]:
    """Yield the enabled tasks that were not sent when they were due."""
    now, started = timezone.now(), find_start_of_beat()
    for task in tasks:
        due = find_due_time(task, now) if task.enabled else None
        if due is not None and now - max(due, started or due) > GRACE:
            yield task


def find_start_of_beat() -> datetime | None:
    """Return when the beat that runs longest was started: what fell due while none ran gets time to catch up."""
    beats = Heartbeat.objects.alive().filter(kind=ProcessKind.BEAT, started_at__isnull=False)
    return beats.order_by("started_at").values_list("started_at", flat=True).first()


def find_due_time(task: PeriodicTask, now: datetime) -> datetime | None:
    """Return when a task should be sent next, in the past if it was not; None if it has ended or not begun."""
    if (task.one_off and task.total_run_count) or (task.expires and task.expires <= now):
        return None
    if task.start_time and task.start_time > now:
        return None
    return now + task.schedule.remaining_estimate(task.last_run_at or task.date_changed)


def describe_last_run(task: PeriodicTask, now: datetime) -> str:
    if task.last_run_at is None:
        return "never ran"
    hours, seconds = divmod((now - task.last_run_at).total_seconds(), 3600)
    return f"last {hours:.0f} h {seconds // 60:.0f} min ago"
