"""Admin page of the workflow report: executions by workflow, agent and repository."""

from collections.abc import Callable
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
from ingestion.admin.workflow_totals import build_totals_context, format_rate
from ingestion.workflows import DEFAULT_REPORT_DAYS, MAX_REPORT_DAYS, MAX_REPORT_ROWS, fetch_report_with_namespaces
from memory_site.core.admin.formatting import format_datetime, format_duration, format_number, truncate
from memory_site.core.csv_rows import format_csv_row
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

REPORT_PERIODS = [
    ("1", "the last day"),
    *[(str(days), f"the last {days} days") for days in (7, DEFAULT_REPORT_DAYS, 90, 365)],
    (str(MAX_REPORT_DAYS), "all time"),
]
REPORT_HEADERS = (
    *("workflow", "adapter", "agent", "repository", "runs", "failed", "success", "average", "documents", "chunks"),
    "last run",
)
CSV_COLUMNS = (
    *("namespace", "workflow_id", "adapter", "agent_id", "repo_id", "executions", "completed", "failed"),
    *("average_seconds", "last_execution", "documents", "chunks"),
)
#: The choices of the order: title, and the key of a row.
ORDERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "": ("latest run first", lambda row: 0),
    "runs": ("most runs first", lambda row: -row["executions"]),
    "failed": ("most failures first", lambda row: -row["failed"]),
    "average": ("slowest first", lambda row: -(row["average_seconds"] or 0)),
    "workflow": ("workflow", lambda row: row["workflow_id"]),
}
NAME_HTML = '<span class="{}" title="{}">{}</span>'
#: Longer names may be broken over lines.
MAX_UNBROKEN_LENGTH = 16
LINK_HTML = '<a href="{}" class="underline">{}</a>'


class PeriodForm(forms.Form):
    days = forms.ChoiceField(label="Started in", required=False, choices=REPORT_PERIODS, widget=UnfoldAdminSelectWidget)


class OrderForm(forms.Form):
    o = forms.ChoiceField(
        label="Order",
        required=False,
        choices=[(name, title) for name, (title, _) in ORDERS.items()],
        widget=UnfoldAdminSelectWidget,
    )


def render_workflow_report(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Render the page. Needs the permission to view executions."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, days = get_selected_namespace(request), parse_period(request)
    namespace_form = build_namespace_form(request, model_admin, namespace)
    order = request.GET.get("o", "") if request.GET.get("o", "") in ORDERS else ""
    namespace_id = namespace.pk if namespace else None
    rows = sorted(fetch_report_with_namespaces(namespace_id, days), key=ORDERS[order][1])
    if request.GET.get("format") == "csv":
        return build_csv(rows)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Workflow report",
        "forms": [namespace_form, PeriodForm({"days": days}), OrderForm({"o": order})],
        "media": forms.Media(namespace_form.Media),
        "namespace": namespace,
        "row_limit": format_number(MAX_REPORT_ROWS) if len(rows) == MAX_REPORT_ROWS else None,
        "report": build_table(rows, namespace, days),
        "csv_query": urlencode({"namespace": namespace_id or "", "days": days, "o": order, "format": "csv"}),
        **build_totals_context(namespace_id, days),
    }
    return TemplateResponse(request, "admin/ingestion/workflowexecution/report.html", context)


def build_csv(rows: list[dict[str, Any]]) -> HttpResponse:
    """Return the rows as a file, with the names of their namespaces."""
    names = dict(Namespace.objects.filter(pk__in={row["namespace_id"] for row in rows}).values_list("pk", "name"))
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="workflow-report.csv"'
    response.write(format_csv_row(CSV_COLUMNS))
    for row in rows:
        values = row | {"namespace": names.get(row["namespace_id"], "")}
        response.write(format_csv_row(values[name] for name in CSV_COLUMNS))
    return response


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
        format_rate(row["completed"] / ended if (ended := row["completed"] + row["failed"]) else None),
        "-" if average is None else format_html(NOWRAP_HTML, format_duration(average)),
        format_number(row["documents"]),
        format_number(row["chunks"]),
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
