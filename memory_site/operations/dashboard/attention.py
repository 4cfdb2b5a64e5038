"""What needs attention: one line each, with the page or the command that deals with it."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count
from django.db.models.functions import Now
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from ingestion.models import (
    ADAPTER_HEALTH,
    ExecutionStatus,
    Ingestion,
    IngestionStatus,
    PerformanceMetric,
    WorkflowExecution,
)
from memories.cleanup.conditions import FINDINGS
from memories.expiry import ExpiredCount
from memories.models import Memory, NamespaceSize
from memories.states import is_alive
from memory_site.core.admin.formatting import format_number, truncate
from memory_site.operations.dashboard.content import Notice, Scope, Watch
from memory_site.operations.dashboard.jobs import find_failed_jobs
from memory_site.operations.dashboard.links import link_list, link_memories, link_page
from memory_site.operations.dashboard.work import FAILURE_DAYS, fetch_queue
from memory_site.operations.health.advice import START_WORKER
from memory_site.operations.health.latest import get_latest_report
from memory_site.operations.health.results import Component, HealthStatus
from memory_site.operations.health.schedules import describe_last_run, find_overdue
from memory_site.operations.models import ScheduleOutcome

#: Of each source; the last line says how many there are in all.
MAX_NOTICES = 5
MAX_NAME_LENGTH = 60
TASK_MODEL, RUN_MODEL = "django_celery_beat_periodictask", "ingestion_ingestion"
DELETES_EXPIRED = "delete expired memories"
#: The pages that deal with what a check finds; the others are on the health page.
COMPONENT_PAGES = {
    "backups": ("Open the backups", "operations_backup"),
    "recovery": ("Open the backups", "operations_backup"),
    "maintenance": ("Open the reports", "operations_maintenancereport"),
    "models": ("Open the runs", "memories_reembedding"),
}


def find_failing_components(scope: Scope) -> list[Notice]:
    report = get_latest_report()
    return [describe_component(each) for each in (report.list_failing() if report else ()) if is_shown(each)]


def is_shown(component: Component) -> bool:
    """Return whether no other source knows more: schedules and refused texts are listed by name."""
    return component.name != "schedules" and (component.name != "embedding" or component.mend == START_WORKER)


def describe_component(component: Component) -> Notice:
    action, model = COMPONENT_PAGES.get(component.name, ("Open the check", ""))
    url = link_list(model) if model else f"{link_list('operations_health')}#{component.name}"
    tone = "danger" if component.status is HealthStatus.UNHEALTHY else "warning"
    return Notice(f"{component.name.capitalize()}: {component.message}", action, url, component.mend, tone)


def find_refused_texts(scope: Scope) -> list[Notice]:
    _, refused, _ = fetch_queue(scope.namespace_id)
    if not refused:
        return []
    text = f"The embedder refuses {count(refused, 'memory', 'memories')}: words find them, their meaning does not."
    return [Notice(text, "Open them", link_memories(scope, embedding="refused"), tone="danger")]


def find_duplicates(scope: Scope) -> list[Notice]:
    """Find the near copies of the clean-up's last look."""
    copies = Memory.objects.filter(is_alive(), FINDINGS["duplicate"](), **scope.filters).count()
    if not copies:
        return []
    text = f"{count(copies, 'memory says', 'memories say')} what another one says as well."
    return [Notice(text, "Compare and merge", link_list("cleanup_duplicate", **scope.filters))]


def find_secrets(scope: Scope) -> list[Notice]:
    """Find the texts that the clean-up's last look took for keys, tokens or passwords."""
    texts = Memory.objects.filter(is_alive(), FINDINGS["secret"](), **scope.filters).count()
    if not texts:
        return []
    text = f"{count(texts, 'memory looks', 'memories look')} like a secret: a key, a token or a password."
    return [Notice(text, "Open them", link_memories(scope, finding="secret"), tone="danger")]


def find_overdue_schedules(scope: Scope) -> list[Notice]:
    now = timezone.now()
    tasks = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").order_by("name")
    return [
        Notice(
            f"The scheduled task “{task.name}” is overdue: {describe_last_run(task, now)}.",
            "Open the task",
            link_page(TASK_MODEL, task.pk),
            START_WORKER,
        )
        for task in find_overdue(tasks)
    ]


def find_failing_schedules(scope: Scope) -> list[Notice]:
    outcomes = {each.name: each for each in ScheduleOutcome.objects.failing()}
    tasks = PeriodicTask.objects.filter(name__in=outcomes, enabled=True).order_by("name")
    return [
        Notice(
            f"The last run of the scheduled task “{task.name}” failed ({outcomes[task.name].error}).",
            "Open the task",
            link_page(TASK_MODEL, task.pk),
        )
        for task in tasks
    ]


def find_failed_ingestions(scope: Scope) -> list[Notice]:
    """Find the repositories whose latest run failed."""
    runs = Ingestion.objects.filter(**scope.filters, created_at__gt=Now() - timedelta(days=FAILURE_DAYS))
    latest = runs.order_by("namespace_id", "repo_id", "-created_at").distinct("namespace_id", "repo_id")
    return [
        Notice(
            f"The last ingestion of {truncate(run.repo_id, MAX_NAME_LENGTH)} failed.",
            "Open the run, to run it again",
            link_page(RUN_MODEL, run.pk),
            tone="danger",
        )
        for run in latest.only("namespace_id", "repo_id", "status")
        if run.status == IngestionStatus.FAILED
    ]


def find_failed_workflows(scope: Scope) -> list[Notice]:
    failed = WorkflowExecution.objects.filter(
        **scope.filters, status=ExecutionStatus.FAILED, started_at__gt=Now() - timedelta(days=1)
    ).count()
    if not failed:
        return []
    url = link_list("ingestion_workflowexecution", **scope.filters, status=ExecutionStatus.FAILED, days=1)
    return [Notice(f"{count(failed, 'workflow run')} failed in 24 hours.", "Open them", url)]


def find_failing_adapters(scope: Scope) -> list[Notice]:
    """Find the adapters whose latest measurement of the last day is not healthy, or counts errors."""
    measured = PerformanceMetric.objects.filter(
        **scope.filters, metric_type=ADAPTER_HEALTH, timestamp__gt=Now() - timedelta(days=1)
    )
    measured = measured.select_related("namespace").order_by("namespace_id", "component", "-timestamp")
    latest = measured.distinct("namespace_id", "component")
    return [describe_adapter(each) for each in latest if is_failing(each)]


def is_failing(measurement: PerformanceMetric) -> bool:
    return bool(measurement.error_count) or measurement.metrics.get("health_status") not in (None, "healthy")


def describe_adapter(measurement: PerformanceMetric) -> Notice:
    status = truncate(str(measurement.metrics.get("health_status") or "unknown"), MAX_NAME_LENGTH)
    url = link_list(
        "ingestion_performancemetric",
        namespace=measurement.namespace_id,
        component=measurement.component,
        metric_type=ADAPTER_HEALTH,
        days=1,
    )
    errors = count(int(measurement.error_count or 0), "error")
    name, where = (truncate(each, MAX_NAME_LENGTH) for each in (measurement.component, measurement.namespace.name))
    text = f"The adapter {name} is failing: {status}, {errors}, in the namespace {where}."
    return Notice(text, "Open its measurements", url, tone="danger")


def find_mass_expiry(scope: Scope) -> list[Notice]:
    """Find namespaces of which much has expired: a mistake can be mended until the hourly task has deleted them."""
    expired = Memory.objects.filter(**scope.filters).expired()
    counts = expired.values_list("namespace_id", "namespace__name").annotate(expired=Count("pk"))
    counts = [(pk, name, number) for pk, name, number in counts if number]
    sizes = dict(
        NamespaceSize.objects.filter(namespace__in=[pk for pk, *_ in counts]).values_list("namespace", "memories")
    )
    much = [each for pk, name, n in counts if (each := ExpiredCount(pk, name, sizes.get(pk, n), n)).is_much]
    task = PeriodicTask.objects.filter(name=DELETES_EXPIRED, enabled=True).first() if much else None
    return [describe_expiry(each, task) for each in much]


def describe_expiry(found: ExpiredCount, task: PeriodicTask | None) -> Notice:
    text = (
        f"{count(found.expired, 'memory', 'memories')} of “{truncate(found.namespace, MAX_NAME_LENGTH)}” have expired"
    )
    if task is None:
        return Notice(f"{text} and wait for a confirmation.", "Open the tasks", link_list(TASK_MODEL), COMMAND)
    text += ": the next run of the scheduled task deletes them for good."
    return Notice(text, "Open the task, to switch it off", link_page(TASK_MODEL, task.pk), COMMAND)


COMMAND = "python manage.py delete_expired --dry-run"


def count(number: int, one: str, many: str = "") -> str:
    """Return "1 run" or "2 runs"."""
    return f"{format_number(number)} {one if number == 1 else many or one + 's'}"


#: Each is read by itself: one that fails says so, and the others stand.
WATCHES = (
    Watch("health", "operations.view_heartbeat", find_failing_components, is_namespaced=False, is_kept=False),
    Watch("refused texts", "memories.view_memory", find_refused_texts),
    Watch("overdue schedules", "django_celery_beat.view_periodictask", find_overdue_schedules, is_namespaced=False),
    Watch("failing schedules", "django_celery_beat.view_periodictask", find_failing_schedules, is_namespaced=False),
    Watch("ingestions", "ingestion.view_ingestion", find_failed_ingestions),
    Watch("workflow runs", "ingestion.view_workflowexecution", find_failed_workflows),
    Watch("jobs", "jobs.view_job", find_failed_jobs),
    Watch("adapters", "ingestion.view_performancemetric", find_failing_adapters),
    Watch("near duplicates", "cleanup.view_duplicate", find_duplicates),
    Watch("secrets", "memories.view_memory", find_secrets),
    Watch("expiry", "memories.view_memory", find_mass_expiry),
)


def summarize(notices: list[Notice], watch: Watch) -> Iterator[Notice]:
    """Yield the first notices of a source, and a line about the others."""
    yield from notices[:MAX_NOTICES]
    if (more := len(notices) - MAX_NOTICES) > 0:
        yield Notice(f"{format_number(more)} more of {watch.name}.", "", "", tone=notices[0].tone)
