"""Admin pages of memories."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories import tasks
from memories.add import add_one
from memories.admin.embedding_states import EMBEDDING_STATE_COLOURS, EMBEDDING_STATE_LABELS, get_embedding_state
from memories.admin.filters import LIST_FILTERS, LIST_PARAMETERS, read_selection
from memories.admin.forms import MemoryForm
from memories.admin.memory_page.view import MemoryPageMixin
from memories.admin.search import order_by_rank, parse_uuid_or_none, search_with_notes
from memories.edit import edit_memory
from memories.jobs.admin.list_actions import JobActions
from memories.models import Memory, MemoryQuerySet
from memories.search.selection import Selection
from memory_site.core.admin.base import BaseAdmin, CappedChangeList
from memory_site.core.admin.formatting import format_datetime, render_two_lines, truncate

MAX_LIST_PREVIEW_LENGTH = 160
#: The list's columns, and the field that each reads. Other fields are not loaded.
LIST_COLUMNS = {
    "beginning": "pk",  # and `content_beginning`, an annotation
    "kind": "memory_type",
    "user_id": "user_id",
    "source": "source_system",
    "level": "importance",
    "embedded": "due__error",
    "created": "created_at",
}
IMPORTANCE_COLOURS = {"CRITICAL": "danger", "HIGH": "warning", "MEDIUM": "info"}
MATCH_HTML = '<span class="memory-score">{}</span> <span class="memory-arm">{}</span>'

SHARED_FIELDSETS = (
    ("About", {"fields": (("memory_type", "importance", "confidence"), ("source_system", "tags"))}),
    ("Labels", {"fields": (("user_id", "agent_id"), ("workflow_id", "repo_id", "session_id"), "expires_at")}),
    ("Entity", {"fields": (("entity_system", "entity_id"), ("entity_type", "entity_name"))}),
)


def is_search(request: HttpRequest) -> bool:
    return bool(request.GET.get(SEARCH_VAR, "").strip())


class MemoryList(CappedChangeList):
    """Loads only the fields that the columns show: neither whole contents nor JSON."""

    def get_filters(self, request: HttpRequest) -> tuple:
        """Ignore empty fields of the filter sheet, whose names are in the query string too."""
        *filters, _ = super().get_filters(request)
        return *filters, any(request.GET.get(name) for name in LIST_PARAMETERS)

    def get_results(self, request: HttpRequest) -> None:
        rows = self.queryset.annotate(content_beginning=Left("content", MAX_LIST_PREVIEW_LENGTH))
        self.queryset = rows.only(*LIST_COLUMNS.values())
        super().get_results(request)
        hits = {hit["memory"]["id"]: hit for hit in getattr(request, "hits", ())}
        for memory in self.result_list:
            memory.hit = hits.get(memory.pk)


@admin.register(Memory)
class MemoryAdmin(JobActions, MemoryPageMixin, BaseAdmin):
    empty_text = "Memories are stored by agents over the API, by manage.py remember, and here with Add."
    hide_content_in_log = True
    form = MemoryForm
    compressed_fields = False
    list_filter = LIST_FILTERS
    list_display_links = ("beginning",)
    sortable_by = ("created",)
    ordering = ("-created_at", "-id")
    search_fields = ("content",)  # shows the search box; get_search_results searches
    search_help_text = "Search by words, meaning or id"
    autocomplete_fields = ("namespace",)
    fieldsets = (
        (None, {"fields": ("content", "summary")}),
        *SHARED_FIELDSETS,
        ("Data and metadata", {"fields": ("data", "metadata")}),
    )
    add_fieldsets = ((None, {"fields": ("namespace", "content", "summary")}), *fieldsets[1:])

    def get_queryset(self, request: HttpRequest) -> MemoryQuerySet:
        return Memory.objects.alive().select_related("due").defer("search_vector")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MemoryList]:
        return MemoryList

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        first, *others = LIST_COLUMNS
        return (first, "match", *others) if is_search(request) else (first, *others)

    def get_sortable_by(self, request: HttpRequest) -> Sequence[str]:
        """Keep search hits in the order of their scores."""
        return () if is_search(request) else self.sortable_by

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the list's own filters: any other condition could read every row."""
        return lookup in LIST_PARAMETERS

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Apply the filters and the search together: the search statement itself has to filter."""
        try:
            selection = read_selection(request.GET)
        except ValueError as error:
            messages.warning(request, f"Nothing can match: {error}")
            return queryset.none(), False
        if pk := parse_uuid_or_none(search_term):
            memory = self.get_queryset(request).filter(pk=pk).order_by("pk")
            if memory.exists():
                return memory, False
        rows = selection.narrow(queryset)
        return (self._apply_search(request, rows, search_term, selection) if search_term.strip() else rows), False

    def _apply_search(
        self, request: HttpRequest, memories: MemoryQuerySet, text: str, selection: Selection
    ) -> MemoryQuerySet:
        outcome = search_with_notes(text, selection.namespace_id, selection.filters)
        request.hits = outcome.hits
        for note in outcome.notes:
            messages.warning(request, note)
        return order_by_rank(memories, outcome)

    @display(description="memory")
    def beginning(self, memory: Memory) -> SafeString:
        text = truncate(memory.content_beginning, MAX_LIST_PREVIEW_LENGTH - 1)
        return render_two_lines(text)

    @display(description="match")
    def match(self, memory: Memory) -> SafeString:
        """Show the score, and what found the memory: words, meaning, both, or its id."""
        if memory.hit is None:
            return format_html(MATCH_HTML, "id", "exact")
        found_by = memory.hit["found_by"]
        return format_html(MATCH_HTML, f"{memory.hit['score']:.2f}", found_by[0] if len(found_by) == 1 else "both")

    @display(description="type", label=True)
    def kind(self, memory: Memory) -> str:
        return memory.memory_type.replace("_", " ")

    @display(description="source")
    def source(self, memory: Memory) -> str:
        return memory.source_system

    @display(description="importance", label=IMPORTANCE_COLOURS)
    def level(self, memory: Memory) -> str:
        return memory.get_importance_display()

    @display(description="vector", label=EMBEDDING_STATE_COLOURS)
    def embedded(self, memory: Memory) -> tuple[str, str]:
        return get_embedding_state(memory), EMBEDDING_STATE_LABELS[get_embedding_state(memory)]

    @display(description="created", ordering="created_at")
    def created(self, memory: Memory) -> SafeString | None:
        return format_datetime(memory.created_at)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"source_system": "admin"} | super().get_changeform_initial_data(request)

    def save_model(self, request: HttpRequest, obj: Memory, form: MemoryForm, change: bool) -> None:
        """Save as the API does, with insights and queue. Raises Memory.DoesNotExist if it was deleted meanwhile."""
        if not change:
            row, _ = add_one(obj.namespace_id, form.payload)
            obj.pk, obj._state.adding = row["id"], False
        elif form.changed_data:
            memory = Memory.objects.filter(pk=obj.pk)
            if edit_memory(obj.namespace_id, memory, **form.payload.columns(only_given=True)) is None:
                raise Memory.DoesNotExist
        tasks.embedding_trigger.notify_on_commit()
