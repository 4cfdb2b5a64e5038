"""Admin pages of jobs: the list, and a page with progress, log and result, from which a job is cancelled or undone."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memories.jobs.actions import ACTIONS
from memories.jobs.admin.plan_page import plan_view
from memories.jobs.describe import describe_job, describe_selection
from memories.jobs.files import get_file_end, stream_file
from memories.jobs.models import OPEN_STATES, Job, JobState
from memories.jobs.run import cancel
from memories.jobs.undo import can_undo, create_undo, explain_no_undo
from memories.search.selection import Selection
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import (
    format_datetime,
    format_duration,
    format_number,
    format_size,
    render_progress_bar,
    render_two_lines,
)
from memory_site.core.admin.polling import PollingChangeList
from memory_site.core.errors import DomainError
from sessions_app.admin.namespaces import NamespaceFilter

# The status that makes htmx stop polling.
STOP_POLLING_STATUS = 286
STATE_COLOURS = {
    JobState.PENDING: "warning",
    JobState.RUNNING: "info",
    JobState.CANCELLING: "warning",
    JobState.CANCELLED: "default",
    JobState.FINISHED: "success",
    JobState.FAILED: "danger",
    JobState.UNDONE: "default",
}
#: Of the progress bar, as the style sheet names them.
BAR_STATES = {JobState.FINISHED: "completed", JobState.UNDONE: "completed", JobState.FAILED: "failed"}
CANCELLED = "The job stops after the batch that it is at."
HAS_ENDED = "The job has ended already."
NO_FILE = "The file is no longer there."
MAX_LOG_SHOWN = 100


class StateFilter(DropdownFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in JobState]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(state=self.value()) if self.value() in JobState.values else queryset


class JobList(PollingChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Leave out wide columns."""
        self.queryset = self.queryset.defer("log", "selection", "result")
        super().get_results(request)

    def is_open(self, row: Job) -> bool:
        return row.state in OPEN_STATES


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    empty_text = "A job appears when a bulk action is started: from the memories list, by POST /jobs, or by a command."
    list_display = ("what", "namespace", "state_label", "progress", "left", "by", "created", "duration")
    list_display_links = ("what",)
    list_filter = (NamespaceFilter, StateFilter)
    list_before_template = "admin/jobs/job/list_intro.html"
    ordering = ("-created_at", "-id")
    compressed_fields = False
    fields = (("what", "namespace", "by"), ("about", "created"))
    readonly_fields = ("what", "namespace", "by", "about", "created")
    change_form_outer_before_template = "admin/jobs/job/run.html"

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        pages = {"cancel": cancel_view, "undo": undo_view, "file": file_view}
        own = [
            path(f"<uuid:pk>/{name}/", wrap(partial(view, model_admin=self)), name=f"jobs_job_{name}")
            for name, view in pages.items()
        ]
        # Without `admin_view`, whose redirect to the login page htmx would follow.
        own.append(path("<uuid:pk>/progress/", partial(progress_view, model_admin=self), name="jobs_job_progress"))
        own.append(path("plan/", wrap(partial(plan_view, model_admin=self)), name="jobs_job_plan"))
        return [*own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("namespace")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[JobList]:
        return JobList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {each.parameter_name for each in self.list_filter}

    @display(description="job")
    def what(self, job: Job) -> SafeString:
        return render_two_lines(describe_job(job))

    @display(description="state", label=STATE_COLOURS)
    def state_label(self, job: Job) -> tuple[str, str]:
        return job.state, "stuck" if job.is_stuck else job.state

    @display(description="progress")
    def progress(self, job: Job) -> SafeString:
        bar = BAR_STATES.get(JobState(job.state), "in_progress")
        return render_progress_bar(describe_progress(job), bar, job.percent)

    @display(description="left as it was")
    def left(self, job: Job) -> str:
        return format_number(job.failed)

    @display(description="asked for by")
    def by(self, job: Job) -> str:
        return describe_actor(job.created_by)

    @display(description="memories")
    def about(self, job: Job) -> str:
        return describe_memories(job)

    @display(description="created")
    def created(self, job: Job) -> SafeString | None:
        return format_datetime(job.created_at)

    @display(description="duration", empty_value="-")
    def duration(self, job: Job) -> str | None:
        return None if job.duration_seconds is None else format_duration(job.duration_seconds)

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if job := kwargs.get("obj"):
            context |= build_run_context(request, job) | {"title": describe_job(job), "subtitle": None}
        return super().render_change_form(request, context, *args, **kwargs)


def describe_actor(name: str) -> str:
    """Return who asked for it: "admin", "the key mem_1a2b3c4d", "the command forget"."""
    kind, _, rest = name.partition(":")
    words = {"console": "{}", "key": "the key {}", "command": "the command {}"}
    return words.get(kind, name).format(rest) or "-"


def describe_memories(job: Job) -> str:
    try:
        return describe_selection(Selection.load(job.selection)) if job.selection else "-"
    except ValueError:
        return "what a newer release understands"


def describe_progress(job: Job) -> str:
    total = job.handled if job.matched is None else job.matched
    return f"{format_number(job.handled)} of {format_number(total)}"


def find_job_or_404(request: HttpRequest, model_admin: ModelAdmin, pk: UUID) -> Job:
    """Raise PermissionDenied for users who may not see jobs."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    job = Job.objects.select_related("namespace").filter(pk=pk).first()
    if job is None:
        raise Http404
    return job


def may_change(request: HttpRequest, job: Job) -> bool:
    """Return whether the user may cancel or undo the job: who may ask for it may also stop it."""
    action = ACTIONS.get(job.action)
    return request.user.has_perm("jobs.change_job") and (action is None or request.user.has_perm(action.permission))


def go_to_page(job: Job) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))


@require_POST
def cancel_view(request: HttpRequest, pk: UUID, model_admin: JobAdmin) -> HttpResponse:
    job = find_job_or_404(request, model_admin, pk)
    if not may_change(request, job):
        raise PermissionDenied
    if cancel(job):
        model_admin.log_change(request, job, "Cancelled.")
        messages.success(request, CANCELLED)
    else:
        messages.warning(request, HAS_ENDED)
    return go_to_page(job)


@require_POST
def undo_view(request: HttpRequest, pk: UUID, model_admin: JobAdmin) -> HttpResponse:
    job = find_job_or_404(request, model_admin, pk)
    if not may_change(request, job):
        raise PermissionDenied
    try:
        undo = create_undo(job, f"console:{request.user.get_username()}")
    except DomainError as error:
        messages.warning(request, str(error))
        return go_to_page(job)
    model_admin.log_change(request, job, "Undone.")
    return go_to_page(undo)


def file_view(request: HttpRequest, pk: UUID, model_admin: JobAdmin) -> HttpResponse:
    """Send the file of an export. Who reads it reads memories."""
    job = find_job_or_404(request, model_admin, pk)
    if not request.user.has_perm("memories.view_memory"):
        raise PermissionDenied
    response = stream_file(job)
    if response is None:
        messages.warning(request, NO_FILE)
        return go_to_page(job)
    return response  # type: ignore[return-value]  # a streaming response is no HttpResponse


@never_cache
def progress_view(request: HttpRequest, pk: UUID, model_admin: JobAdmin) -> HttpResponse:
    """Render the live part of a job's page. A user who is no longer logged in gets 403."""
    if not (model_admin.admin_site.has_permission(request) and model_admin.has_view_permission(request)):
        raise PermissionDenied
    job = Job.objects.select_related("namespace").filter(pk=pk).first()
    if job is None:
        return HttpResponse("This job has been deleted.", status=STOP_POLLING_STATUS)
    return render(request, "admin/jobs/job/run.html", {"original": job, **build_run_context(request, job)})


def build_run_context(request: HttpRequest, job: Job) -> dict[str, Any]:
    allowed = may_change(request, job)
    undo = Job.objects.filter(namespace=job.namespace_id, undo_of=job.pk).order_by("-created_at").first()
    return {
        "job": job,
        "colour": STATE_COLOURS.get(JobState(job.state), "primary"),
        "bar": BAR_STATES.get(JobState(job.state), "in_progress"),
        "words": describe_progress(job),
        "notes": describe_pace(job),
        "poll": reverse("admin:jobs_job_progress", args=[job.pk]) if job.is_open else None,
        "figures": [
            ("Matched", format_number(job.matched or 0)),
            ("Done", format_number(job.done)),
            ("Left as they were", format_number(job.failed)),
        ],
        "log_entries": [entry | {"url": get_entry_url(entry)} for entry in job.log[:MAX_LOG_SHOWN]],
        "more_entries": max(job.failed - MAX_LOG_SHOWN, 0) and format_number(job.failed - MAX_LOG_SHOWN),
        "cancel_url": reverse("admin:jobs_job_cancel", args=[job.pk]) if job.is_open and allowed else None,
        "undo_url": reverse("admin:jobs_job_undo", args=[job.pk]) if allowed and can_undo(job) else None,
        "no_undo": "" if job.is_open else explain_no_undo(job),
        "undo": undo and reverse("admin:jobs_job_change", args=[undo.pk]),
        "undone_job": job.undo_of and reverse("admin:jobs_job_change", args=[job.undo_of]),
        "file": build_file_context(job),
        "changes_url": find_changes_url(request, job),
    }


def find_changes_url(request: HttpRequest, job: Job) -> str | None:
    """Return the list of what the job changed, if that was kept and may be seen."""
    action = ACTIONS.get(job.action)
    kept = job.done and (job.undo_of or (action and action.can_undo))
    may_see = request.user.has_perm("history.view_memoryversion")
    return f"{reverse('admin:history_memoryversion_changelist')}?q={job.pk}" if kept and may_see else None


def get_entry_url(entry: dict[str, str]) -> str:
    return reverse("admin:memories_memory_change", args=[entry["id"]])


def build_file_context(job: Job) -> dict[str, Any] | None:
    end = get_file_end(job)
    if end is None:
        return None
    return {
        "name": job.result["file"],
        "size": format_size(job.result.get("bytes") or 0),
        "until": format_datetime(end),
        "url": reverse("admin:jobs_job_file", args=[job.pk]),
    }


def describe_pace(job: Job) -> list[str]:
    """Return short notes on start, duration, rate and remaining time."""
    if job.state == JobState.PENDING:
        return ["no worker takes it" if job.is_stuck else "waiting for a worker"]
    notes = [f"started {job.started_at:%Y-%m-%d %H:%M:%S}"] if job.started_at else []
    if job.duration_seconds is not None:
        notes.append(f"took {format_duration(job.duration_seconds)}")
    if job.attempts > 1:
        notes.append(f"attempt {job.attempts}")
    if rate := job.rate:
        notes.append(f"{rate:,.0f} memories a second")
    if job.is_stuck:
        notes.append("the worker does not respond; another one will continue soon")
    elif job.seconds_left is not None:
        notes.append(f"about {format_duration(job.seconds_left)} left")
    return notes
