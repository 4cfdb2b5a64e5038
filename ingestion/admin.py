"""The console's pages of ingestions and documents. They are read here, and deleted, never changed."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm

from ingestion.admin_workflows import WorkflowExecutionAdmin  # noqa: F401
from ingestion.models import SILENCE, Document, Ingestion, Status
from ingestion.pipeline import OUTSIDE
from ingestion.tasks import bell
from memories.admin import SAID, STATES, page_of, state_of
from memories.models import Embedding, Memory
from memory_site.console import (
    ConsoleList,
    containing,
    grouped,
    moment,
    pretty_json,
    progress_bar,
    shortened,
    two_lines,
)
from sessions_app.admin.conversations import ExactFilter, lasting
from sessions_app.admin.shared import NamespaceFilter, SpokenAdmin

#: How far a search looks: no index holds parts of paths, and there may be millions of them.
SEARCHED = 10_000
CHUNKS_PER_PAGE = 50
#: A chunk of more lines is folded up, and so many of them are shown then.
FOLDED_LINES, FIRST_LINES = 20, 10
#: Of one line, however long, this much is shown of a folded chunk.
BEGINNING = 1_000
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
UNBROKEN = '<span class="whitespace-nowrap">{}</span>'
ASKED = "A worker was asked to read the folder again."
#: What a run has in common with the one it repeats.
SAME = ("namespace_id", "repo_id", "path", "within_roots", "suffixes")
ANOTHER_IS_OPEN = "Nothing was begun: another run of this repository is open."
GONE = "Nothing was begun: this run has been deleted."
NOT_ALLOWED = f"Nothing was begun. {OUTSIDE}"


def holding(rows: QuerySet, text: str, *columns: str) -> QuerySet:
    """Those among the newest of these rows that have the text in one of the columns, capitals and small letters
    alike."""
    newest = rows.order_by("-created_at", "-id").values("id", *columns)[:SEARCHED]
    sql, parameters = newest.query.sql_with_params()
    matches = " OR ".join(f"{column} ILIKE %s" for column in columns)
    found = RawSQL(f"SELECT id FROM ({sql}) newest WHERE {matches}", [*parameters, *[containing(text)] * len(columns)])  # noqa: S611
    return rows.filter(pk__in=found)


def address(model: str, *args: object, what: str = "changelist", **parameters: object) -> str:
    found = reverse(f"admin:ingestion_{model}_{what}", args=args)
    return f"{found}?{urlencode(parameters)}" if parameters else found


class KnowledgeAdmin(SpokenAdmin):
    """What both lists share: newest first, nothing made or changed by hand, a search that has an end."""

    ordering = ("-created_at", "-id")
    sortable_by = ()
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("namespace")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"searched": grouped(SEARCHED)} | (extra_context or {}))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (holding(queryset, text, *self.search_fields) if text else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RepositoryFilter(ExactFilter):
    title, parameter_name = "repository", "repo_id"


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


# Documents


class DocumentList(ConsoleList):
    def get_results(self, request: HttpRequest) -> None:
        """Narrow rows: the metadata may be large."""
        self.queryset = self.queryset.defer("digest", "metadata")
        super().get_results(request)


@admin.register(Document)
class DocumentAdmin(KnowledgeAdmin):
    list_display = ("name", "repository", "namespace", "chunks", "weight", "changed")
    list_display_links = ("name",)
    list_filter = (NamespaceFilter, RepositoryFilter)
    list_before_template = "admin/ingestion/document/list_intro.html"
    search_fields = ("path", "title")
    search_help_text = "Path or title, or a part of it"
    fields = ("name", ("repository", "namespace", "weight"), ("chunks", "added", "changed"), "details")
    readonly_fields = tuple(flatten(fields))
    change_form_outer_after_template = "admin/ingestion/document/chunks.html"
    delete_confirmation_template = "admin/ingestion/document/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/ingestion/document/delete_selected_confirmation.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DocumentList]:
        return DocumentList

    @display(description="document")
    def name(self, document: Document) -> SafeString:
        return two_lines(str(document))

    @display(description="repository", empty_value="-")
    def repository(self, document: Document) -> SafeString | None:
        if document.repo_id is None:
            return None
        narrowed = address("document", namespace=document.namespace_id, repo_id=document.repo_id)
        return format_html('<a href="{}" class="spoken-name underline">{}</a>', narrowed, document.repo_id)

    @display(description="chunks")
    def chunks(self, document: Document) -> str:
        return grouped(document.chunk_count)

    @display(description="size")
    def weight(self, document: Document) -> str:
        return filesizeformat(document.size)

    @display(description="added")
    def added(self, document: Document) -> SafeString | None:
        return moment(document.created_at)

    @display(description="changed")
    def changed(self, document: Document) -> SafeString | None:
        return moment(document.updated_at)

    @display(description="metadata")
    def details(self, document: Document) -> SafeString | str:
        return pretty_json(document.metadata) if document.metadata else "-"

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if (document := kwargs.get("obj")) and request.user.has_perm("memories.view_memory"):
            page = page_of_chunks(document, request.GET.get("page"))
            context |= {"page": page, "blocks": [block(memory) for memory in page]}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """With its chunks, by the database's own cascade, which Django knows nothing of. They are memories, so who
        may delete no memory may not delete what has some."""
        documents = list(objs)
        chunks = Memory.objects.filter(document_id__in=[each.pk for each in documents])
        vectors = Embedding.objects.filter(memory__in=chunks.values("pk")).count()
        counts = {"documents": len(documents), "chunks": chunks.count(), "vectors": vectors}
        allowed = not counts["chunks"] or request.user.has_perm("memories.delete_memory")
        shown = [shortened(str(each), 120) for each in documents]
        return shown, counts, set() if allowed else {"memory"}, []

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        self.delete_queryset(request, Document.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """All of it or nothing, however long it takes: the web server's usual limit would stop it half way."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            queryset.delete()


def page_of_chunks(document: Document, number: str | None) -> Page:
    """In the order of the text; a number that cannot be one gives the nearest page."""
    chunks = Memory.objects.alive().filter(document_id=document.pk).order_by("metadata__position", "id")
    rows = chunks.select_related("due").only("content", "metadata", "due__error")
    return Paginator(rows, CHUNKS_PER_PAGE).get_page(number)


def block(memory: Memory) -> dict[str, Any]:
    """A chunk as its template takes it. Its metadata may have been changed by callers, and say anything."""
    first, last = (memory.metadata.get(name) for name in ("start_line", "end_line"))
    known = isinstance(first, int) and isinstance(last, int)
    lines = memory.content.split("\n")
    long = len(lines) > FOLDED_LINES or len(memory.content) > FOLDED_LINES * BEGINNING
    return {
        "position": memory.metadata.get("position"),
        "before": first - 1 if known else 0,
        "place": (f"line {first}" if first == last else f"lines {first}–{last}") if known else None,
        "lines": lines,
        "beginning": [line[:BEGINNING] for line in lines[:FIRST_LINES]] if long else None,
        "address": page_of(memory),
        "vector": SAID[state_of(memory)],
        "colour": STATES[state_of(memory)],
    }
