"""The console's pages of ingestions and documents. They are read here, and deleted, never changed."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.core.paginator import Page, Paginator
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.models import Document
from memories.admin.addresses import get_memory_url
from memories.admin.memories import EMBEDDING_STATE_COLOURS, EMBEDDING_STATE_LABELS, get_embedding_state
from memories.models import Embedding, Memory
from memory_site.core.admin.base import CappedChangeList, NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter, build_like_pattern
from memory_site.core.admin.formatting import format_datetime, format_number, render_json, render_two_lines, truncate
from sessions_app.admin.namespaces import NamespaceFilter

#: How far a search looks: no index holds parts of paths, and there may be millions of them.
MAX_SEARCHED_ROWS = 10_000
CHUNKS_PER_PAGE = 50
#: A chunk of more lines is folded up, and so many of them are shown then.
MAX_UNFOLDED_LINES, FOLDED_PREVIEW_LINES = 20, 10
#: Of one line, however long, this much is shown of a folded chunk.
LINE_PREVIEW_LENGTH = 1_000
NOWRAP_HTML = '<span class="whitespace-nowrap">{}</span>'


def search_newest(rows: QuerySet, text: str, *columns: str) -> QuerySet:
    """Those among the newest of these rows that have the text in one of the columns, capitals and small letters
    alike."""
    newest = rows.order_by("-created_at", "-id").values("id", *columns)[:MAX_SEARCHED_ROWS]
    sql, parameters = newest.query.sql_with_params()
    matches = " OR ".join(f"{column} ILIKE %s" for column in columns)
    found = RawSQL(
        f"SELECT id FROM ({sql}) newest WHERE {matches}", [*parameters, *[build_like_pattern(text)] * len(columns)]
    )
    return rows.filter(pk__in=found)


def build_admin_url(model: str, *args: object, what: str = "changelist", **parameters: object) -> str:
    found = reverse(f"admin:ingestion_{model}_{what}", args=args)
    return f"{found}?{urlencode(parameters)}" if parameters else found


class IngestionBaseAdmin(NoLookupAdmin):
    """What both lists share: newest first, nothing made or changed by hand, a search that has an end."""

    ordering = ("-created_at", "-id")
    sortable_by = ()
    compressed_fields = False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("namespace")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"searched": format_number(MAX_SEARCHED_ROWS)} | (extra_context or {}))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (search_newest(queryset, text, *self.search_fields) if text else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RepositoryFilter(ExactFilter):
    title, parameter_name = "repository", "repo_id"


# Documents


class DocumentList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Narrow rows: the metadata may be large."""
        self.queryset = self.queryset.defer("digest", "metadata")
        super().get_results(request)


@admin.register(Document)
class DocumentAdmin(IngestionBaseAdmin):
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
        return render_two_lines(str(document))

    @display(description="repository", empty_value="-")
    def repository(self, document: Document) -> SafeString | None:
        if document.repo_id is None:
            return None
        narrowed = build_admin_url("document", namespace=document.namespace_id, repo_id=document.repo_id)
        return format_html('<a href="{}" class="spoken-name underline">{}</a>', narrowed, document.repo_id)

    @display(description="chunks")
    def chunks(self, document: Document) -> str:
        return format_number(document.chunk_count)

    @display(description="size")
    def weight(self, document: Document) -> str:
        return filesizeformat(document.size)

    @display(description="added")
    def added(self, document: Document) -> SafeString | None:
        return format_datetime(document.created_at)

    @display(description="changed")
    def changed(self, document: Document) -> SafeString | None:
        return format_datetime(document.updated_at)

    @display(description="metadata")
    def details(self, document: Document) -> SafeString | str:
        return render_json(document.metadata) if document.metadata else "-"

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if (document := kwargs.get("obj")) and request.user.has_perm("memories.view_memory"):
            page = paginate_chunks(document, request.GET.get("page"))
            context |= {"page": page, "blocks": [build_chunk_block(memory) for memory in page]}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """With its chunks, by the database's own cascade, which Django knows nothing of. They are memories, so who
        may delete no memory may not delete what has some."""
        documents = list(objs)
        chunks = Memory.objects.filter(document_id__in=[each.pk for each in documents])
        vectors = Embedding.objects.filter(memory__in=chunks.values("pk")).count()
        counts = {"documents": len(documents), "chunks": chunks.count(), "vectors": vectors}
        allowed = not counts["chunks"] or request.user.has_perm("memories.delete_memory")
        shown = [truncate(str(each), 120) for each in documents]
        return shown, counts, set() if allowed else {"memory"}, []

    def delete_model(self, request: HttpRequest, obj: Document) -> None:
        self.delete_queryset(request, Document.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """All of it or nothing, however long it takes: the web server's usual limit would stop it half way."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            queryset.delete()


def paginate_chunks(document: Document, number: str | None) -> Page:
    """In the order of the text; a number that cannot be one gives the nearest page."""
    chunks = Memory.objects.alive().filter(document_id=document.pk).order_by("metadata__position", "id")
    rows = chunks.select_related("due").only("content", "metadata", "due__error")
    return Paginator(rows, CHUNKS_PER_PAGE).get_page(number)


def build_chunk_block(memory: Memory) -> dict[str, Any]:
    """A chunk as its template takes it. Its metadata may have been changed by callers, and say anything."""
    first, last = (memory.metadata.get(name) for name in ("start_line", "end_line"))
    known = isinstance(first, int) and isinstance(last, int)
    lines = memory.content.split("\n")
    long = len(lines) > MAX_UNFOLDED_LINES or len(memory.content) > MAX_UNFOLDED_LINES * LINE_PREVIEW_LENGTH
    return {
        "position": memory.metadata.get("position"),
        "before": first - 1 if known else 0,
        "place": (f"line {first}" if first == last else f"lines {first}–{last}") if known else None,
        "lines": lines,
        "beginning": [line[:LINE_PREVIEW_LENGTH] for line in lines[:FOLDED_PREVIEW_LINES]] if long else None,
        "address": get_memory_url(memory),
        "vector": EMBEDDING_STATE_LABELS[get_embedding_state(memory)],
        "colour": EMBEDDING_STATE_COLOURS[get_embedding_state(memory)],
    }
