"""Admin page of the workflow report: executions by workflow, agent and repository."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget

from ingestion.admin.shared import NOWRAP_HTML
from ingestion.workflows import DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, MAX_REPORT_ROWS, fetch_report_with_namespaces
from memory_site.core.admin.formatting import format_datetime, format_duration, format_number, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

REPORT_PERIODS = [
    ("1", "the last day"),
    *[(str(days), f"the last {days} days") for days in (7, DEFAULT_REPORT_DAYS, 90, 365)],
    (str(MAX_REPORT_DAYS), "all time"),
]
REPORT_HEADERS = ("workflow", "adapter", "agent", "repository", "runs", "failed", "average", "last run")
NAME_HTML = '<span class="{}" title="{}">{}</span>'
#: Longer names may be broken over lines.
MAX_UNBROKEN_LENGTH = 16
LINK_HTML = '<a href="{}" class="underline">{}</a>'


class PeriodForm(forms.Form):
    days = forms.ChoiceField(label="Started in", required=False, choices=REPORT_PERIODS, widget=UnfoldAdminSelectWidget)


def render_workflow_report(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Render the page. Needs the permission to view executions."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, days = get_selected_namespace(request), parse_period(request)
    namespace_form = build_namespace_form(request, model_admin, namespace)
    rows = fetch_report_with_namespaces(namespace and namespace.pk, days)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Workflow report",
        "forms": [namespace_form, PeriodForm({"days": days})],
        "media": forms.Media(namespace_form.Media),
        "namespace": namespace,
        "row_limit": format_number(MAX_REPORT_ROWS) if len(rows) == MAX_REPORT_ROWS else None,
        "report": build_table(rows, namespace, days),
    }
    return TemplateResponse(request, "admin/ingestion/workflowexecution/report.html", context)


def parse_period(request: HttpRequest) -> int:
    """Return the number of days to look back: the default for a value that is not among the choices."""
    days = request.GET.get("days")
    return int(days) if days in dict(REPORT_PERIODS) else DEFAULT_REPORT_DAYS


def build_table(rows: list[dict[str, Any]], namespace: Namespace | None, days: int) -> dict[str, list]:
    """Return headers and rows for the theme's table, with links to the executions behind the figures."""
    if namespace:
        return {"headers": REPORT_HEADERS, "rows": [build_cells(row, days) for row in rows]}
    names = dict(Namespace.objects.filter(pk__in={row["namespace_id"] for row in rows}).values_list("pk", "name"))
    all_cells = [[*build_cells(row, days), format_name(names.get(row["namespace_id"]))] for row in rows]
    return {"headers": (*REPORT_HEADERS, "namespace"), "rows": all_cells}


def build_cells(row: dict[str, Any], days: int) -> list[SafeString | str | None]:
    runs, average = build_runs_url(row, days), row["average_seconds"]
    return [
        format_name(row["workflow_id"]),
        format_name(row["adapter"]),
        format_name(row["agent_id"]),
        format_name(row["repo_id"]),
        format_html(LINK_HTML, runs, format_number(row["executions"])),
        format_html(LINK_HTML, f"{runs}&status=failed", format_number(row["failed"])) if row["failed"] else "0",
        "-" if average is None else format_html(NOWRAP_HTML, format_duration(average)),
        format_datetime(row["last_execution"]),
    ]


def format_name(text: str | None) -> SafeString | str:
    if text is None:
        return "-"
    breaks = "whitespace-nowrap" if len(text) <= MAX_UNBROKEN_LENGTH else "spoken-name"
    return format_html(NAME_HTML, breaks, text, truncate(text, 60))


def build_runs_url(row: dict[str, Any], days: int) -> str:
    """Return the URL of the list filtered to exactly the row's executions."""
    values = {"namespace": row["namespace_id"], "days": days}
    values |= {name: row[name] for name in ("workflow_id", "adapter", "agent_id", "repo_id") if row[name] is not None}
    missing = [what for what, name in (("agent", "agent_id"), ("repository", "repo_id")) if row[name] is None]
    values |= {"without": " and ".join(missing)} if missing else {}
    return f"{reverse('admin:ingestion_workflowexecution_changelist')}?{urlencode(values)}"
