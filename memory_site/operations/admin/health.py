"""The console's health page: every check with what mends it, processes, queues, versions and last errors."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from ingestion.models import Ingestion, IngestionStatus
from memories.models import Memory
from memory_site.core.admin.formatting import format_datetime
from memory_site.operations.dashboard.content import Figure
from memory_site.operations.dashboard.links import link_list
from memory_site.operations.health.latest import HealthReport, check_again, get_latest_report
from memory_site.operations.health.results import Component, HealthStatus
from memory_site.operations.health.runner import CHECK_TIMEOUT_SECONDS
from memory_site.operations.models import MAX_HEARTBEAT_AGE, Heartbeat, ScheduleOutcome

URL_NAME = "admin:operations_health_changelist"
STATUS_COLOURS = {HealthStatus.HEALTHY: "success", HealthStatus.DEGRADED: "warning", HealthStatus.UNHEALTHY: "danger"}
MAX_ERRORS = 10
OPEN_STATUSES = (IngestionStatus.PENDING, IngestionStatus.IN_PROGRESS)


def show_health(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the last report to users who may view heartbeats. `again=1` checks first, within the checks' time limit."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    if request.GET.get("again") == "1":
        check_again(CHECK_TIMEOUT_SECONDS + 1)
        return HttpResponseRedirect(reverse(URL_NAME))
    report = get_latest_report()
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Health",
        "report": report,
        "figures": list_figures(report),
        "components": list_components(report, request.GET.get("status", "")),
        "processes": {"headers": ("process", "state", "last seen", "running since"), "rows": list_processes()},
        "queues": list_queues(),
        "errors": list_errors(),
    }
    return TemplateResponse(request, "admin/operations/health.html", context)


def list_figures(report: HealthReport | None) -> list[Figure]:
    url = link_list("operations_health")
    return [
        Figure(status.name.lower(), report.count(status), f"{url}?status={status.name.lower()}", STATUS_COLOURS[status])
        for status in (HealthStatus if report else ())
    ]


def list_components(report: HealthReport | None, status: str) -> list[tuple[Component, str, str]]:
    """Return the components, the worst first, each with the name and colour of its status."""
    components = sorted(report.components, key=lambda each: -each.status) if report else []
    named = [(each, each.status.name.lower(), STATUS_COLOURS[each.status]) for each in components]
    known = {each.name.lower() for each in HealthStatus}
    return [each for each in named if status not in known or each[1] == status]


def list_processes() -> list[list[Any]]:
    return [
        [
            each.name,
            "alive" if each.age < MAX_HEARTBEAT_AGE else "missing",
            format_datetime(each.seen_at),
            format_datetime(each.started_at) or "-",
        ]
        for each in Heartbeat.objects.with_age()
    ]


def list_queues() -> list[Figure]:
    """Return how much work waits; the broker's own queue is among the report's facts."""
    waiting = Memory.objects.alive().waiting().count()
    return [
        Figure("texts without a vector", waiting, link_list("memories_memory", embedding="waiting")),
        *(count_ingestions(status) for status in OPEN_STATUSES),
    ]


def count_ingestions(status: IngestionStatus) -> Figure:
    runs = Ingestion.objects.filter(status=status).count()
    return Figure(f"ingestions {status.replace('_', ' ')}", runs, link_list("ingestion_ingestion", status=status))


def list_errors() -> list[tuple[str, str, SafeString | None]]:
    """Return the last failures of scheduled tasks, newest first: name, kind of error, when."""
    failed = ScheduleOutcome.objects.filter(failed_at__isnull=False).order_by("-failed_at")[:MAX_ERRORS]
    return [(each.name, each.error, format_datetime(each.failed_at)) for each in failed]
