"""Admin pages of documents: read and delete, no editing."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.core.paginator import Page, Paginator
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from ingestion.admin.shared import IngestionBaseAdmin, RepositoryFilter, build_admin_url
from ingestion.models import Document
from memories.admin.embedding_states import EMBEDDING_STATE_COLOURS, EMBEDDING_STATE_LABELS, get_embedding_state
from memories.console_urls import get_memory_url
from memories.models import Embedding, Memory
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.formatting import format_datetime, format_number, render_json, render_two_lines, truncate
from sessions_app.admin.namespaces import NamespaceFilter

CHUNKS_PER_PAGE = 50
#: A chunk of more lines is folded, with so many lines as a preview.
MAX_UNFOLDED_LINES, FOLDED_PREVIEW_LINES = 20, 10
#: Characters of each line in the preview.
LINE_PREVIEW_LENGTH = 1_000


class DocumentList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Leave out the metadata, which may be large."""
        self.queryset = self.queryset.defer("digest", "metadata")
        super().get_results(request)


@admin.register(Document)
class DocumentAdmin(IngestionBaseAdmin):
    empty_text = "Documents come from ingested folders and from API clients."
    list_display = ("name", "repository", "namespace", "chunks", "file_size", "updated")
    list_display_links = ("name",)
    list_filter = (NamespaceFilter, RepositoryFilter)
    list_before_template = "admin/ingestion/document/list_intro.html"
    search_fields = ("path", "title")
    search_help_text = "Path or title, or a part of it"
    fields = ("name", ("repository", "namespace", "file_size"), ("chunks", "created", "updated"), "metadata_shown")
    readonly_fields = tuple(flatten(fields))
    change_form_outer_after_template = "admin/ingestion/document/chunks.html"
    delete_confirmation_template = "admin/ingestion/document/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/ingestion/document/delete_selected_confirmation.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).with_chunks(None)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DocumentList]:
        return DocumentList

    @display(description="document", ordering="path")
    def name(self, document: Document) -> SafeString:
        return render_two_lines(str(document))

    @display(description="repository", empty_value="-", ordering="repo_id")
    def repository(self, document: Document) -> SafeString | None:
        if document.repo_id is None:
            return None
        url = build_admin_url("document", namespace=document.namespace_id, repo_id=document.repo_id)
        return format_html('<a href="{}" class="spoken-name underline">{}</a>', url, document.repo_id)

    @display(description="chunks", ordering="chunks")
    def chunks(self, document: Document) -> str:
        return format_number(document.chunks)

    @display(description="size", ordering="size")
    def file_size(self, document: Document) -> str:
        return filesizeformat(document.size)

    @display(description="created")
    def created(self, document: Document) -> SafeString | None:
        return format_datetime(document.created_at)

    @display(description="updated", ordering="updated_at")
    def updated(self, document: Document) -> SafeString | None:
        return format_datetime(document.updated_at)

    @display(description="metadata")
    def metadata_shown(self, document: Document) -> SafeString | str:
        return render_json(document.metadata) if document.metadata else "-"

    def render_change_form(self, request: HttpRequest, context: dict, *args: Any, **kwargs: Any) -> HttpResponse:
        if (document := kwargs.get("obj")) and request.user.has_perm("memories.view_memory"):
            page = paginate_chunks(document, request.GET.get("page"))
            context |= {"page": page, "blocks": [build_chunk_block(memory) for memory in page]}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """Count the chunks and vectors that PostgreSQL deletes by its own cascade, which Django does not see.

        The chunks are memories: deleting a document that has some needs the permission to delete memories.
        """
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
        """Delete in one transaction without the usual statement timeout, which a long cascade would exceed."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            queryset.delete()


def paginate_chunks(document: Document, number: str | None) -> Page:
    """Return a page of chunks in the order of the text. An invalid page number gives the nearest page."""
    chunks = Memory.objects.alive().filter(document_id=document.pk).order_by("metadata__position", "id")
    rows = chunks.select_related("due").only("content", "metadata", "state", "due__error")
    return Paginator(rows, CHUNKS_PER_PAGE).get_page(number)


def build_chunk_block(memory: Memory) -> dict[str, Any]:
    """Return a chunk's template context. API clients may have changed its metadata to anything."""
    first, last = (memory.metadata.get(name) for name in ("start_line", "end_line"))
    has_lines = isinstance(first, int) and isinstance(last, int)
    lines = memory.content.split("\n")
    long = len(lines) > MAX_UNFOLDED_LINES or len(memory.content) > MAX_UNFOLDED_LINES * LINE_PREVIEW_LENGTH
    return {
        "position": memory.metadata.get("position"),
        "before": first - 1 if has_lines else 0,
        "place": (f"line {first}" if first == last else f"lines {first}–{last}") if has_lines else None,
        "lines": lines,
        "beginning": [line[:LINE_PREVIEW_LENGTH] for line in lines[:FOLDED_PREVIEW_LINES]] if long else None,
        "address": get_memory_url(memory),
        "vector": EMBEDDING_STATE_LABELS[get_embedding_state(memory)],
        "colour": EMBEDDING_STATE_COLOURS[get_embedding_state(memory)],
    }
