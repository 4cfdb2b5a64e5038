"""Cards about the site: health, backups, scheduled tasks and disks."""

from datetime import datetime

from django.db.models import BigIntegerField, Count, Func, Max, Q
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from memory_site.core.admin.charts import Bar
from memory_site.core.admin.formatting import format_size
from memory_site.operations.dashboard.content import Content, Figure, Line, Scope
from memory_site.operations.dashboard.links import link_list, link_page
from memory_site.operations.health.latest import get_latest_report
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.schedules import find_due_time
from memory_site.operations.models import Backup, BackupState, DiskSample

MAX_NEXT_TASKS = 6
STATUS_TONES = {HealthStatus.HEALTHY: "success", HealthStatus.DEGRADED: "warning", HealthStatus.UNHEALTHY: "danger"}
# The newest sample of each file system of each machine.
LATEST_SAMPLES = DiskSample.objects.order_by("machine", "path", "-taken_at").distinct("machine", "path")
DATABASE_SIZE = Func(Func(function="current_database"), function="pg_database_size", output_field=BigIntegerField())


def build_health(scope: Scope) -> Content:
    report = get_latest_report()
    if report is None:
        return Content(empty="The checks are running. Reload the page in a moment.")
    url = link_list("operations_health")
    figures = [
        Figure(status.name.lower(), report.count(status), f"{url}?status={status.name.lower()}", STATUS_TONES[status])
        for status in HealthStatus
        if report.count(status)
    ]
    lines = [
        Line(each.name, f"{url}#{each.name}", each.message, tone=STATUS_TONES[each.status])
        for each in report.list_failing()
    ]
    note = "" if lines else "Every component is healthy."
    return Content(figures=figures, lines=lines, note=note, at=report.at)


def build_backups(scope: Scope) -> Content:
    """Only a backup that was restored and compared counts as one."""
    verified, bad = Q(state=BackupState.VERIFIED), Q(state=BackupState.BAD)
    counts = Backup.objects.aggregate(
        all=Count("pk"),
        verified=Count("pk", filter=verified),
        bad=Count("pk", filter=bad),
        latest=Max("started_at"),
        latest_verified=Max("started_at", filter=verified),
        proven=Max("verified_at"),
    )
    if not counts["all"]:
        return Content(
            empty="There is no backup yet. The nightly task makes them, or: python manage.py backup --verify"
        )
    figures = [
        Figure("verified", counts["verified"], link_list("operations_backup", state__exact=BackupState.VERIFIED)),
        Figure("bad", counts["bad"], link_list("operations_backup", state__exact=BackupState.BAD), "danger"),
        Figure("in all", counts["all"], link_list("operations_backup")),
    ]
    times = {
        "Last backup": counts["latest"],
        "Last one that a restore has proven": counts["latest_verified"],
        "That restore": counts["proven"],
    }
    lines = [Line(text, at=at, detail="" if at else "none yet") for text, at in times.items()]
    return Content(figures=[each for each in figures if each.value or each.label != "bad"], lines=lines)


def build_schedules(scope: Scope) -> Content:
    tasks = list(PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked"))
    if not tasks:
        return Content(empty="There are no scheduled tasks yet: the first start of the worker creates them.")
    enabled = [task for task in tasks if task.enabled]
    model = "django_celery_beat_periodictask"
    figures = [Figure("on", len(enabled), link_list(model, enabled__exact=1))]
    if off := len(tasks) - len(enabled):
        figures.append(Figure("switched off", off, link_list(model, enabled__exact=0), "warning"))
    now = timezone.now()
    due = sorted((at, task.name, task) for task in enabled if (at := find_due_time(task, now)))
    lines = [describe_task(at, task, now) for at, _, task in due if is_rare(at, task)][:MAX_NEXT_TASKS]
    return Content(figures=figures, lines=lines, note="The next ones of those that run at most once an hour.")


def is_rare(at: datetime, task: PeriodicTask) -> bool:
    """Return whether a task runs at most once an hour: the others are always among the next."""
    return task.interval is None or task.interval.schedule.run_every.total_seconds() >= 3600


def describe_task(at: datetime, task: PeriodicTask, now: datetime) -> Line:
    last = "has not run yet" if task.last_run_at is None else f"last ran {task.last_run_at:%Y-%m-%d %H:%M} UTC"
    return Line(task.name, link_page("django_celery_beat_periodictask", task.pk), last, max(at, now))


def build_disks(scope: Scope) -> Content:
    """Draw the used share of each file system, as the workers last measured it: a disk that hangs is not asked."""
    samples = list(LATEST_SAMPLES.annotate(database_size=DATABASE_SIZE))
    if not samples:
        return Content(empty="No worker has measured the disks yet; one does so every 15 minutes.")
    bars, url = [], link_list("operations_health", status="")
    machines = {sample.machine for sample in samples}
    for sample in samples:
        used = sample.total_bytes - sample.free_bytes
        percent = round(100 * used / max(sample.total_bytes, 1))
        detail = f"{format_size(sample.free_bytes)} free of {format_size(sample.total_bytes)}"
        name = sample.path if len(machines) == 1 else f"{sample.machine}: {sample.path}"
        bars.append(Bar(name, percent, url, percent, detail=detail, unit=" %"))
    return Content(bars=bars, note=f"Database: {format_size(samples[0].database_size)}.")
