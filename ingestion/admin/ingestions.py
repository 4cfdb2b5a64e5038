"""The console's pages of ingestions. They are read here, and deleted, never changed."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
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

from ingestion.admin.documents import UNBROKEN, KnowledgeAdmin, address
from ingestion.models import SILENCE, Ingestion, Status
from ingestion.pipeline import OUTSIDE
from ingestion.tasks import bell
from memory_site.core.admin.base import ConsoleList
from memory_site.core.admin.formatting import grouped, moment, progress_bar, shortened, two_lines
from sessions_app.admin.conversations import lasting
from sessions_app.admin.shared import NamespaceFilter

# The number by which the browser that polls knows that there is nothing more to come.
STOP_POLLING = 286
COLOURS = {
    Status.PENDING: "warning",
    Status.IN_PROGRESS: "info",
    Status.COMPLETED: "success",
    Status.FAILED: "danger",
}
OPEN = (Status.PENDING, Status.IN_PROGRESS)
LASTING = {Status.IN_PROGRESS: "at work for", Status.COMPLETED: "took", Status.FAILED: "ended after"}
ASKED = "A worker was asked to read the folder again."
#: What a run has in common with the one it repeats.
SAME = ("namespace_id", "repo_id", "path", "within_roots", "suffixes")
ANOTHER_IS_OPEN = "Nothing was begun: another run of this repository is open."
GONE = "Nothing was begun: this run has been deleted."
NOT_ALLOWED = f"Nothing was begun. {OUTSIDE}"


# Ingestions


class StatusFilter(DropdownFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(status.value, said(status)) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(status=self.value()) if self.value() in Status.values else queryset


class IngestionList(ConsoleList):
    def get_results(self, request: HttpRequest) -> None:
        """Narrow rows: of the skipped files only their number."""
        self.queryset = self.queryset.defer("skipped", "error", "suffixes")
        super().get_results(request)


class AgainForm(BaseDialogForm):
    """Nothing to fill in: sending it is the consent."""


def said(status: str) -> str:
    return status.replace("_", " ")


def seconds_of(run: Ingestion) -> float | None:
    """How long it took, has taken so far, or took until it was last heard of."""
    if run.started_at is None:
        return None
    until = run.finished_at or (timezone.now() if run.status in OPEN else run.heard_of_at)
    return max((until - run.started_at).total_seconds(), 0)


def how_far(run: Ingestion) -> tuple[str, int]:
    """In words, and in percent."""
    if run.documents_total is None:
        return "reading the folder" if run.status == Status.IN_PROGRESS else "not begun", 0
    words = f"{grouped(run.documents_done)} of {grouped(run.documents_total)}"
    return words, min(100 * run.documents_done // max(run.documents_total, 1), 100)


@admin.register(Ingestion)
class IngestionAdmin(KnowledgeAdmin):
    list_display = (
        "repository",
        "namespace",
        "state",
        "progress",
        "in_chunks",
        "deleted",
        "left_out",
        "started",
        "duration",
    )
    list_display_links = ("repository",)
    list_filter = (NamespaceFilter, StatusFilter)
    list_before_template = "admin/ingestion/ingestion/list_intro.html"
    search_fields = ("repo_id",)
    search_help_text = "Repository, or a part of its name"
    actions_detail = ("run_again",)
    fields = (("repo_id", "namespace", "asked_for"), ("path", "taken"))
    readonly_fields = tuple(flatten(fields))
    change_form_outer_before_template = "admin/ingestion/ingestion/run.html"
    delete_confirmation_template = "admin/ingestion/ingestion/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/ingestion/ingestion/delete_selected_confirmation.html"

    def get_urls(self) -> list[URLPattern]:
        view = partial(run_progress, model_admin=self)
        return [path("<uuid:pk>/progress/", view, name="ingestion_ingestion_progress"), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[IngestionList]:
        return IngestionList

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Not by its dotted name: the theme would look for that in the database before there is one."""
        return request.user.has_perm("ingestion.add_ingestion")

    @action(
        description="Run again",
        icon="replay",
        permissions=["view", "run"],
        dialog={
            "title": "Read this folder again?",
            "description": "A worker takes what is new or changed, and deletes what is gone from the folder.",
            "form_class": AgainForm,
            "form_submit_text": "Run again",
        },
    )
    def run_again(self, request: HttpRequest, form: AgainForm, object_id: str) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is None:
            messages.warning(request, GONE)
            return HttpResponse(headers={"HX-Redirect": address("ingestion")})
        again = self._begin(request, run)
        return HttpResponse(headers={"HX-Redirect": address("ingestion", (again or run).pk, what="change")})

    def _begin(self, request: HttpRequest, run: Ingestion) -> Ingestion | None:
        if not run.is_allowed:
            messages.warning(request, NOT_ALLOWED)
            return None
        try:
            with transaction.atomic():
                same = {name: getattr(run, name) for name in SAME}
                again = Ingestion.objects.create(**same)
                again.refresh_from_db(fields=["created_at"])
                self.log_addition(request, again, f"Run again, like that of {run.created_at:%Y-%m-%d %H:%M}.")
        except IntegrityError:
            messages.warning(request, ANOTHER_IS_OPEN)
            return None
        bell.ring()
        messages.success(request, ASKED)
        return again

    @display(description="repository")
    def repository(self, run: Ingestion) -> SafeString:
        return two_lines(run.repo_id)

    @display(description="status", label=COLOURS)
    def state(self, run: Ingestion) -> tuple[str, str]:
        return run.status, said(run.status)

    @display(description="progress")
    def progress(self, run: Ingestion) -> SafeString:
        words, percent = how_far(run)
        return progress_bar(words, run.status, percent)

    @display(description="chunks")
    def in_chunks(self, run: Ingestion) -> str:
        return grouped(run.chunks)

    @display(description="deleted")
    def deleted(self, run: Ingestion) -> str:
        return grouped(run.documents_deleted)

    @display(description="skipped")
    def left_out(self, run: Ingestion) -> str:
        return grouped(run.documents_skipped)

    @display(description="started", empty_value="not yet")
    def started(self, run: Ingestion) -> SafeString | None:
        return moment(run.started_at)

    @display(description="duration", empty_value="-")
    def duration(self, run: Ingestion) -> SafeString | None:
        seconds = seconds_of(run)
        return None if seconds is None else format_html(UNBROKEN, lasting(seconds))

    @display(description="asked for")
    def asked_for(self, run: Ingestion) -> SafeString | None:
        return moment(run.created_at)

    @display(description="files taken")
    def taken(self, run: Ingestion) -> str:
        return ", ".join(run.suffixes)

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if run := kwargs.get("obj"):
            context |= state_of_run(request, run)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        shown = [shortened(str(run), 120) for run in objs]
        return shown, {"ingestions": len(shown)}, set(), []


@never_cache
def run_progress(request: HttpRequest, pk: UUID, model_admin: ModelAdmin) -> HttpResponse:
    """The part of a run's page that moves. Who is no longer logged in is refused: the way to the login page would be
    followed, and that page shown inside of this one."""
    if not (model_admin.admin_site.has_permission(request) and model_admin.has_view_permission(request)):
        raise PermissionDenied
    run = Ingestion.objects.filter(pk=pk).first()
    if run is None:
        return HttpResponse("This run has been deleted.", status=STOP_POLLING)
    return render(request, "admin/ingestion/ingestion/run.html", {"original": run, **state_of_run(request, run)})


def state_of_run(request: HttpRequest, run: Ingestion) -> dict[str, Any]:
    words, percent = how_far(run)
    unchanged = run.documents_done - run.documents_changed - run.documents_skipped
    return {
        "run": run,
        "status": said(run.status),
        "colour": COLOURS[run.status],
        "words": words,
        "percent": percent,
        "notes": notes(run),
        "poll": address("ingestion", run.pk, what="progress") if run.status in OPEN else None,
        "figures": [
            ("New or changed", grouped(run.documents_changed)),
            ("Unchanged", grouped(unchanged)),
            ("Chunks written", grouped(run.chunks)),
            ("Deleted", grouped(run.documents_deleted)),
            ("Skipped", grouped(run.documents_skipped)),
        ],
        "documents": request.user.has_perm("ingestion.view_document")
        and address("document", namespace=run.namespace_id, repo_id=run.repo_id),
    }


def notes(run: Ingestion) -> list[str]:
    """What there is to say of its pace, in a few words each."""
    if run.status == Status.PENDING:
        return ["waiting for a worker to begin"]
    found, rate = [], pace(run)
    if run.started_at:
        found += [f"begun {run.started_at:%Y-%m-%d %H:%M:%S}", f"{LASTING[run.status]} {lasting(seconds_of(run))}"]
    if run.tries > 1:
        found += [f"attempt {run.tries}"]
    if rate:
        found += [f"{rate:.1f} documents a second"]
    if run.status == Status.IN_PROGRESS:
        found += prospects(run, rate)
    return found


def pace(run: Ingestion) -> float:
    """Documents a second, up to when it was last heard of."""
    seconds = (run.heard_of_at - run.started_at).total_seconds() if run.started_at else 0
    return run.documents_done / seconds if seconds > 0 else 0


def prospects(run: Ingestion, rate: float) -> list[str]:
    if timezone.now() - run.heard_of_at > SILENCE:
        return ["its worker has gone silent: another one takes it up soon"]
    if not rate or run.documents_total is None:
        return []
    return [f"about {lasting(max(run.documents_total - run.documents_done, 0) / rate)} left"]
