"""Admin pages of ingestions: read, run again and delete, no editing."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from ingestion.admin.shared import NOWRAP_HTML, IngestionBaseAdmin, build_admin_url
from ingestion.admin.workflow_report import REPORT_PERIODS
from ingestion.models import WORKER_TIMEOUT, Ingestion, IngestionStatus
from ingestion.pipeline import FOLDER_OUTSIDE_ROOTS
from ingestion.tasks import ingestion_trigger
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.formatting import (
    format_datetime,
    format_duration,
    format_number,
    render_progress_bar,
    render_two_lines,
    truncate,
)
from sessions_app.admin.namespaces import NamespaceFilter

# The status that makes htmx stop polling.
STOP_POLLING_STATUS = 286
STATUS_COLOURS = {
    IngestionStatus.PENDING: "warning",
    IngestionStatus.IN_PROGRESS: "info",
    IngestionStatus.COMPLETED: "success",
    IngestionStatus.FAILED: "danger",
}
OPEN_STATUSES = (IngestionStatus.PENDING, IngestionStatus.IN_PROGRESS)
DURATION_LABELS = {
    IngestionStatus.IN_PROGRESS: "running for",
    IngestionStatus.COMPLETED: "took",
    IngestionStatus.FAILED: "failed after",
}
RUN_REQUESTED = "The run was queued for a worker."
#: The fields that a repeated run copies.
REPEATED_FIELDS = ("namespace_id", "repo_id", "path", "within_roots", "suffixes", "exclude")
ANOTHER_RUN_IS_OPEN = "No run was started: another run of this repository is open."
RUN_WAS_DELETED = "No run was started: this run has been deleted."
FOLDER_NOT_ALLOWED = f"No run was started. {FOLDER_OUTSIDE_ROOTS}"


class StatusFilter(DropdownFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(status.value, format_status(status)) for status in IngestionStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(status=self.value()) if self.value() in IngestionStatus.values else queryset


class StartedFilter(DropdownFilter):
    title, parameter_name = "request", "days"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return REPORT_PERIODS

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(REPORT_PERIODS):
            return queryset
        return queryset.filter(created_at__gte=Now() - timedelta(int(self.value())))


class IngestionList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Leave out wide columns."""
        self.queryset = self.queryset.defer("skipped", "error", "suffixes", "exclude")
        super().get_results(request)


class RunAgainForm(BaseDialogForm):
    """A form without fields: submitting it confirms the action."""


def format_status(status: str) -> str:
    return status.replace("_", " ")


def compute_duration(run: Ingestion) -> float | None:
    """Return the seconds from the start to the end, to now, or to the last heartbeat of a run that was lost."""
    if run.started_at is None:
        return None
    until = run.finished_at or (timezone.now() if run.status in OPEN_STATUSES else run.last_heartbeat_at)
    return max((until - run.started_at).total_seconds(), 0)


def describe_progress(run: Ingestion) -> tuple[str, int]:
    """Return the progress as a text and in percent."""
    if run.documents_total is None:
        return "listing the folder" if run.status == IngestionStatus.IN_PROGRESS else "not started", 0
    words = f"{format_number(run.documents_done)} of {format_number(run.documents_total)}"
    return words, min(100 * run.documents_done // max(run.documents_total, 1), 100)


@admin.register(Ingestion)
class IngestionAdmin(IngestionBaseAdmin):
    empty_text = "A run starts with manage.py ingest PATH, or over the API."
    list_display = (
        "repository",
        "namespace",
        "state",
        "progress",
        "chunk_count",
        "deleted",
        "skipped_count",
        "started",
        "duration",
    )
    list_display_links = ("repository",)
    list_filter = (NamespaceFilter, StatusFilter, StartedFilter)
    list_before_template = "admin/ingestion/ingestion/list_intro.html"
    search_fields = ("repo_id",)
    search_help_text = "Repository, or a part of its name"
    actions_detail = ("run_again",)
    fields = (("repo_id", "namespace", "requested"), ("path", "suffix_list", "exclude_list"))
    readonly_fields = tuple(flatten(fields))
    change_form_outer_before_template = "admin/ingestion/ingestion/run.html"
    delete_confirmation_template = "admin/ingestion/ingestion/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/ingestion/ingestion/delete_selected_confirmation.html"

    def get_urls(self) -> list[URLPattern]:
        view = partial(render_run_progress, model_admin=self)
        return [path("<uuid:pk>/progress/", view, name="ingestion_ingestion_progress"), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[IngestionList]:
        return IngestionList

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Check the permission here: for a dotted name the theme would query the database at start-up."""
        return request.user.has_perm("ingestion.add_ingestion")

    @action(
        description="Run again",
        icon="replay",
        permissions=["view", "run"],
        dialog={
            "title": "Ingest this folder again?",
            "description": "A worker ingests new and changed files, and deletes the documents of deleted ones.",
            "form_class": RunAgainForm,
            "form_submit_text": "Run again",
        },
    )
    def run_again(self, request: HttpRequest, form: RunAgainForm, object_id: str) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None:
            messages.warning(request, RUN_WAS_DELETED)
            return HttpResponse(headers={"HX-Redirect": build_admin_url("ingestion")})
        again = self._start_again(request, run)
        return HttpResponse(headers={"HX-Redirect": build_admin_url("ingestion", (again or run).pk, view="change")})

    def _start_again(self, request: HttpRequest, run: Ingestion) -> Ingestion | None:
        if not run.is_allowed:
            messages.warning(request, FOLDER_NOT_ALLOWED)
            return None
        try:
            with transaction.atomic():
                same = {name: getattr(run, name) for name in REPEATED_FIELDS}
                again = Ingestion.objects.create(**same)
                again.refresh_from_db(fields=["created_at"])
                self.log_addition(request, again, f"Repeats the run of {run.created_at:%Y-%m-%d %H:%M}.")
        except IntegrityError:
            messages.warning(request, ANOTHER_RUN_IS_OPEN)
            return None
        ingestion_trigger.notify_on_commit()
        messages.success(request, RUN_REQUESTED)
        return again

    @display(description="repository", ordering="repo_id")
    def repository(self, run: Ingestion) -> SafeString:
        return render_two_lines(run.repo_id)

    @display(description="status", label=STATUS_COLOURS, ordering="status")
    def state(self, run: Ingestion) -> tuple[str, str]:
        return run.status, format_status(run.status)

    @display(description="progress", ordering="documents_done")
    def progress(self, run: Ingestion) -> SafeString:
        words, percent = describe_progress(run)
        return render_progress_bar(words, run.status, percent)

    @display(description="chunks", ordering="chunks")
    def chunk_count(self, run: Ingestion) -> str:
        return format_number(run.chunks)

    @display(description="deleted", ordering="documents_deleted")
    def deleted(self, run: Ingestion) -> str:
        return format_number(run.documents_deleted)

    @display(description="skipped", ordering="documents_skipped")
    def skipped_count(self, run: Ingestion) -> str:
        return format_number(run.documents_skipped)

    @display(description="started", empty_value="not yet", ordering="started_at")
    def started(self, run: Ingestion) -> SafeString | None:
        return format_datetime(run.started_at)

    @display(description="duration", empty_value="-", ordering="duration_seconds")
    def duration(self, run: Ingestion) -> SafeString | None:
        seconds = compute_duration(run)
        return None if seconds is None else format_html(NOWRAP_HTML, format_duration(seconds))

    @display(description="requested")
    def requested(self, run: Ingestion) -> SafeString | None:
        return format_datetime(run.created_at)

    @display(description="suffixes")
    def suffix_list(self, run: Ingestion) -> str:
        return ", ".join(run.suffixes)

    @display(description="excluded besides the defaults", empty_value="-")
    def exclude_list(self, run: Ingestion) -> str | None:
        return ", ".join(run.exclude) or None

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if run := kwargs.get("obj"):
            context |= build_run_context(request, run)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        shown = [truncate(str(run), 120) for run in objs]
        return shown, {"ingestions": len(shown)}, set(), []


@never_cache
def render_run_progress(request: HttpRequest, pk: UUID, model_admin: ModelAdmin) -> HttpResponse:
    """Render the live part of a run's page.

    A user who is no longer logged in gets 403: htmx would follow a redirect and show the login page inside this one.
    """
    if not (model_admin.admin_site.has_permission(request) and model_admin.has_view_permission(request)):
        raise PermissionDenied
    run = Ingestion.objects.filter(pk=pk).first()
    if run is None:
        return HttpResponse("This run has been deleted.", status=STOP_POLLING_STATUS)
    return render(request, "admin/ingestion/ingestion/run.html", {"original": run, **build_run_context(request, run)})


def build_run_context(request: HttpRequest, run: Ingestion) -> dict[str, Any]:
    words, percent = describe_progress(run)
    unchanged = run.documents_done - run.documents_changed - run.documents_skipped
    return {
        "run": run,
        "status": format_status(run.status),
        "colour": STATUS_COLOURS.get(run.status, "primary"),
        "words": words,
        "percent": percent,
        "notes": describe_pace(run),
        "poll": build_admin_url("ingestion", run.pk, view="progress") if run.status in OPEN_STATUSES else None,
        "figures": [
            ("New or changed", format_number(run.documents_changed)),
            ("Unchanged", format_number(unchanged)),
            ("Chunks written", format_number(run.chunks)),
            ("Deleted", format_number(run.documents_deleted)),
            ("Skipped", format_number(run.documents_skipped)),
        ],
        "documents": request.user.has_perm("ingestion.view_document")
        and build_admin_url("document", namespace=run.namespace_id, repo_id=run.repo_id),
    }


def describe_pace(run: Ingestion) -> list[str]:
    """Return short notes on start, duration, attempts, rate and remaining time."""
    if run.status == IngestionStatus.PENDING:
        return ["waiting for a worker"]
    notes, rate = [], compute_rate(run)
    if run.started_at:
        notes += [
            f"started {run.started_at:%Y-%m-%d %H:%M:%S}",
            f"{DURATION_LABELS[run.status]} {format_duration(compute_duration(run))}",
        ]
    if run.attempts > 1:
        notes += [f"attempt {run.attempts}"]
    if rate:
        notes += [f"{rate:.1f} documents a second"]
    if run.status == IngestionStatus.IN_PROGRESS:
        notes += describe_remaining_time(run, rate)
    return notes


def compute_rate(run: Ingestion) -> float:
    """Return the documents per second from the start to the last heartbeat."""
    seconds = (run.last_heartbeat_at - run.started_at).total_seconds() if run.started_at else 0
    return run.documents_done / seconds if seconds > 0 else 0


def describe_remaining_time(run: Ingestion, rate: float) -> list[str]:
    if timezone.now() - run.last_heartbeat_at > WORKER_TIMEOUT:
        return ["the worker does not respond; another one will restart the run soon"]
    if not rate or run.documents_total is None:
        return []
    return [f"about {format_duration(max(run.documents_total - run.documents_done, 0) / rate)} left"]
