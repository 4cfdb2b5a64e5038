"""The console's page of how workflows went, by workflow, agent and repository."""

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

from ingestion.workflows import DAYS, LONGEST_DAYS, ROWS_AT_MOST, report_with_namespaces
from memory_site.core.admin.formatting import grouped, moment, shortened
from sessions_app.admin.conversations import lasting
from sessions_app.admin.shared import namespace_field
from sessions_app.admin.statistics import chosen
from sessions_app.models import Namespace

PERIODS = [
    ("1", "the last day"),
    *[(str(days), f"the last {days} days") for days in (7, DAYS, 90, 365)],
    (str(LONGEST_DAYS), "all time"),
]
HEADERS = ("workflow", "adapter", "agent", "repository", "runs", "failed", "average", "last run")
NAME = '<span class="{}" title="{}">{}</span>'
#: Characters of a name that is never broken.
SHORT_NAME = 16
UNBROKEN = '<span class="whitespace-nowrap">{}</span>'
LINK = '<a href="{}" class="underline">{}</a>'


class PeriodForm(forms.Form):
    days = forms.ChoiceField(label="Started in", required=False, choices=PERIODS, widget=UnfoldAdminSelectWidget)


def workflow_report(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The page itself, for those who may look at executions."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, days = chosen(request), period(request)
    chooser = namespace_field(request, model_admin, namespace)
    rows = report_with_namespaces(namespace and namespace.pk, days)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Workflow report",
        "choosers": [chooser, PeriodForm({"days": days})],
        "media": forms.Media(chooser.Media),
        "chosen": namespace,
        "most": grouped(ROWS_AT_MOST) if len(rows) == ROWS_AT_MOST else None,
        "report": table(rows, namespace, days),
    }
    return TemplateResponse(request, "admin/ingestion/workflowexecution/report.html", context)


def period(request: HttpRequest) -> int:
    """Days to look back; what is none of the choices means the usual ones."""
    days = request.GET.get("days")
    return int(days) if days in dict(PERIODS) else DAYS


def table(rows: list[dict[str, Any]], namespace: Namespace | None, days: int) -> dict[str, list]:
    """As the theme's table takes it, with links to the runs behind the figures."""
    if namespace:
        return {"headers": HEADERS, "rows": [cells(row, days) for row in rows]}
    names = dict(Namespace.objects.filter(pk__in={row["namespace_id"] for row in rows}).values_list("pk", "name"))
    all_cells = [[*cells(row, days), name(names.get(row["namespace_id"]))] for row in rows]
    return {"headers": (*HEADERS, "namespace"), "rows": all_cells}


def cells(row: dict[str, Any], days: int) -> list[SafeString | str | None]:
    runs, average = runs_of(row, days), row["average_seconds"]
    return [
        name(row["workflow_id"]),
        name(row["adapter"]),
        name(row["agent_id"]),
        name(row["repo_id"]),
        format_html(LINK, runs, grouped(row["executions"])),
        format_html(LINK, f"{runs}&status=failed", grouped(row["failed"])) if row["failed"] else "0",
        "-" if average is None else format_html(UNBROKEN, lasting(average)),
        moment(row["last_execution"]),
    ]


def name(text: str | None) -> SafeString | str:
    if text is None:
        return "-"
    breaks = "whitespace-nowrap" if len(text) <= SHORT_NAME else "spoken-name"
    return format_html(NAME, breaks, text, shortened(text, 60))


def runs_of(row: dict[str, Any], days: int) -> str:
    """The address of the list of exactly these."""
    values = {"namespace": row["namespace_id"], "days": days}
    values |= {name: row[name] for name in ("workflow_id", "adapter", "agent_id", "repo_id") if row[name] is not None}
    missing = [what for what, name in (("agent", "agent_id"), ("repository", "repo_id")) if row[name] is None]
    values |= {"without": " and ".join(missing)} if missing else {}
    return f"{reverse('admin:ingestion_workflowexecution_changelist')}?{urlencode(values)}"
