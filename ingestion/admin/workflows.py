"""Admin pages of workflow executions: read and delete, no editing."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import Q, QuerySet
from django.db.models.functions import Left, Now
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from ingestion.admin.shared import NOWRAP_HTML
from ingestion.admin.workflow_report import REPORT_PERIODS, render_workflow_report
from ingestion.models import ExecutionStatus, WorkflowExecution
from memories.admin.memory_page.origins import MAX_WORDS
from memories.models import Memory
from memory_site.core.admin.base import CappedChangeList, NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter, UserFilter
from memory_site.core.admin.formatting import format_datetime, format_duration, render_json, render_two_lines, truncate
from memory_site.core.admin.schema_forms import filter_newest
from sessions_app.admin.namespaces import NamespaceFilter

EXECUTION_STATUS_COLOURS = {
    ExecutionStatus.PENDING: "warning",
    ExecutionStatus.RUNNING: "info",
    ExecutionStatus.COMPLETED: "success",
    ExecutionStatus.FAILED: "danger",
}


class StatusFilter(DropdownFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(status.value, status.value) for status in ExecutionStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(status=self.value()) if self.value() in ExecutionStatus.values else queryset


class WorkflowFilter(ExactFilter):
    title, parameter_name = "workflow", "workflow_id"


class AdapterFilter(ExactFilter):
    title, parameter_name = "adapter", "adapter"


class AgentFilter(ExactFilter):
    title, parameter_name = "agent", "agent_id"


class RepositoryFilter(ExactFilter):
    title, parameter_name = "repository", "repo_id"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        is_searchable = text and "\0" not in text
        return queryset.filter(repositories__contains=[text]) if is_searchable else super().queryset(request, queryset)


class MissingFieldFilter(DropdownFilter):
    """Filter by a missing value, which an empty text field of the other filters cannot express."""

    title, parameter_name = "missing value", "without"
    conditions = {"agent": Q(agent_id=None), "repository": Q(repositories=[])}
    conditions["agent and repository"] = conditions["agent"] & conditions["repository"]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(what, f"no {what.replace('and', 'and no')}") for what in self.conditions]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(self.conditions.get(self.value(), Q()))


class StartedFilter(DropdownFilter):
    title, parameter_name = "start", "days"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return REPORT_PERIODS

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(REPORT_PERIODS):
            return queryset
        return queryset.filter(started_at__gte=Now() - timedelta(int(self.value())))


SEARCHED_FIELDS = ("workflow_id", "adapter", "error")


class ExecutionList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Leave out results and errors, which may be large."""
        self.queryset = self.queryset.defer("result", "error")
        super().get_results(request)


@admin.register(WorkflowExecution)
class WorkflowExecutionAdmin(NoLookupAdmin):
    empty_text = "Orchestrators record the runs of their workflows over the API."
    list_display = ("workflow", "namespace", "adapter", "agent_id", "repository_names", "state", "duration", "started")
    list_display_links = ("workflow",)
    list_select_related = ("namespace",)
    list_filter = (
        NamespaceFilter,
        StatusFilter,
        WorkflowFilter,
        AdapterFilter,
        AgentFilter,
        UserFilter,
        RepositoryFilter,
        MissingFieldFilter,
        StartedFilter,
    )
    list_before_template = "admin/ingestion/workflowexecution/list_intro.html"
    search_fields = ("workflow_id",)  # shows the search box; get_search_results searches
    search_help_text = "Workflow, adapter or error, or a part of it"
    ordering = ("-started_at", "-id")
    compressed_fields = False
    fields = (
        ("workflow_id", "adapter", "namespace"),
        ("agent_id", "user_id", "repository_names"),
        ("state", "started", "finished", "duration"),
        "error",
        "result_shown",
        "memory_link",
    )
    readonly_fields = tuple(flatten(fields))

    def get_urls(self) -> list[URLPattern]:
        """Name the report like a change list, so that the side bar can link to it."""
        view = self.admin_site.admin_view(partial(render_workflow_report, model_admin=self))
        return [path("report/", view, name="ingestion_workflowreport_changelist"), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ExecutionList]:
        return ExecutionList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        matches = Q(*[(f"{name}__icontains", text) for name in SEARCHED_FIELDS], _connector=Q.OR)
        return (filter_newest(queryset, matches) if text else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="workflow", ordering="workflow_id")
    def workflow(self, execution: WorkflowExecution) -> SafeString:
        return render_two_lines(execution.workflow_id)

    @display(description="repositories", empty_value="-", ordering="repositories")
    def repository_names(self, execution: WorkflowExecution) -> SafeString | None:
        names = ", ".join(execution.repositories)
        return format_html('<span title="{}">{}</span>', names, truncate(names, 80)) if names else None

    @display(description="status", label=EXECUTION_STATUS_COLOURS, ordering="status")
    def state(self, execution: WorkflowExecution) -> str:
        return execution.status

    @display(description="duration", empty_value="-", ordering="duration_seconds")
    def duration(self, execution: WorkflowExecution) -> SafeString | None:
        seconds = execution.duration_seconds
        return None if seconds is None else format_html(NOWRAP_HTML, format_duration(seconds))

    @display(description="started", ordering="started_at")
    def started(self, execution: WorkflowExecution) -> SafeString | None:
        return format_datetime(execution.started_at)

    @display(description="finished", empty_value="not yet")
    def finished(self, execution: WorkflowExecution) -> SafeString | None:
        return format_datetime(execution.finished_at)

    @display(description="result")
    def result_shown(self, execution: WorkflowExecution) -> SafeString | str:
        return "-" if execution.result is None else render_json(execution.result)

    @display(description="memory", empty_value="-")
    def memory_link(self, execution: WorkflowExecution) -> SafeString | None:
        if execution.memory_id is None:
            return None
        page = reverse("admin:memories_memory_change", args=[execution.memory_id])
        rows = Memory.objects.filter(namespace=execution.namespace_id, pk=execution.memory_id)
        words = rows.annotate(words=Left("content", MAX_WORDS)).values_list("words", flat=True).first()
        return format_html('<a href="{}" class="underline">{}</a>', page, truncate(words or "memory", MAX_WORDS))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """List only the records: their memories stay."""
        shown = [truncate(str(execution), 120) for execution in objs]
        return shown, {"executions": len(shown)}, set(), []
