"""Admin pages of memories."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, QueryDict
from django.urls import path

from memories import tasks
from memories.add import add_one
from memories.admin.columns import (
    MAX_LIST_PREVIEW_LENGTH,
    OPTIONAL_COLUMNS,
    USUAL_COLUMNS,
    MemoryColumns,
    count_relationships,
    list_loaded_fields,
    mark_page,
)
from memories.admin.facets import show_facets
from memories.admin.filters import LIST_FILTERS, LIST_PARAMETERS, PLAIN_PARAMETERS
from memories.admin.forms import MemoryForm
from memories.admin.memory_page.view import MemoryPageMixin
from memories.admin.parameters import ALL_CHUNKS, NO_CHUNKS, ONLY_CHUNKS, get_chunks_choice
from memories.admin.search import describe_modes, find_in_list, is_search, is_search_by_meaning, parse_uuid_or_none
from memories.admin.suggestions import suggest
from memories.edit import edit_memory
from memories.jobs.admin.list_actions import JobActions
from memories.models import Memory, MemoryQuerySet
from memories.states import not_expired
from memory_site.core.admin.base import BaseAdmin, CappedChangeList
from sessions_app.models import Namespace

SHARED_FIELDSETS = (
    ("About", {"fields": (("memory_type", "importance", "confidence"), ("source_system", "tags"))}),
    ("Labels", {"fields": (("user_id", "agent_id"), ("workflow_id", "repo_id", "session_id"), ("key", "expires_at"))}),
    ("Entity", {"fields": (("entity_system", "entity_id"), ("entity_type", "entity_name"))}),
)


def has_filters(parameters: QueryDict) -> bool:
    return any(parameters.get(name) for name in LIST_PARAMETERS.difference(PLAIN_PARAMETERS))


class MemoryList(CappedChangeList):
    """Loads only the fields that the columns show: neither whole contents nor JSON."""

    @property
    def search_modes(self) -> list[dict[str, Any]]:
        return describe_modes(self.params)

    def get_filters(self, request: HttpRequest) -> tuple:
        """Ignore empty fields of the filter sheet, whose names are in the query string too."""
        *filters, _ = super().get_filters(request)
        return *filters, has_filters(request.GET)

    def get_filters_params(self, params: dict | None = None) -> dict[str, Any]:
        given = super().get_filters_params(params)
        return {name: values for name, values in given.items() if name not in PLAIN_PARAMETERS}

    def get_results(self, request: HttpRequest) -> None:
        rows = self.queryset.annotate(content_beginning=Left("content", MAX_LIST_PREVIEW_LENGTH))
        self.queryset = rows.only(*list_loaded_fields(tuple(self.list_display)))
        super().get_results(request)
        self.result_list = list(self.result_list)
        mark_page(self, request)
        if "relationships" in self.list_display and self.result_list:
            counts = count_relationships(self.result_list)
            for memory in self.result_list:
                memory.relationship_count = counts[memory.pk]


@admin.register(Memory)
class MemoryAdmin(JobActions, MemoryColumns, MemoryPageMixin, BaseAdmin):
    empty_text = "Memories are stored by agents over the API, by manage.py remember, and here with Add."
    hide_content_in_log = True
    form = MemoryForm
    compressed_fields = False
    list_filter = LIST_FILTERS
    list_display_links = ("beginning",)
    list_display = USUAL_COLUMNS
    optional_columns = OPTIONAL_COLUMNS
    indexed_columns = ("created",)
    ordering = ("-created_at", "-id")
    search_fields = ("content",)  # shows the search box; get_search_results searches
    search_help_text = "Search memories, or paste an id"
    autocomplete_fields = ("namespace",)
    fieldsets = (
        (None, {"fields": ("content", "summary")}),
        *SHARED_FIELDSETS,
        ("Data and metadata", {"fields": ("data", "metadata")}),
    )
    add_fieldsets = ((None, {"fields": ("namespace", "content", "summary")}), *fieldsets[1:])

    def get_queryset(self, request: HttpRequest) -> MemoryQuerySet:
        """Select memories in every state: a superseded one has a page. The list's selection names the states."""
        return Memory.objects.filter(not_expired()).select_related("due").defer("search_vector")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Memory | None:
        """Return the newest memory with this id: callers may make ids, and two namespaces may have the same one."""
        if (pk := parse_uuid_or_none(object_id)) is None or from_field is not None:
            return super().get_object(request, object_id, from_field)
        rows = self.get_queryset(request).filter(pk=pk, namespace__in=Namespace.objects.values("pk"))
        return rows.order_by("-created_at").first()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MemoryList]:
        return MemoryList

    def get_urls(self) -> list:
        """Add the pages that the list loads: facets, and suggestions for the fields of its filters."""
        view = self.admin_site.admin_view
        return [
            path("facets/", view(partial(show_facets, self)), name="memories_memory_facets"),
            path("suggestions/", view(partial(suggest, self)), name="memories_memory_suggestions"),
            *super().get_urls(),
        ]

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        first, *others = super().get_list_display(request)
        return (first, "match", *others) if is_search(request) else (first, *others)

    def get_sortable_by(self, request: HttpRequest) -> Sequence[str]:
        """Keep hits of a search by meaning in the order of their scores."""
        return () if is_search_by_meaning(request) else super().get_sortable_by(request)

    def build_tabs(self, cl: ChangeList) -> list[dict[str, Any]]:
        chosen = get_chunks_choice(QueryDict(cl.get_query_string()[1:]))
        tabs = ((NO_CHUNKS, "Memories"), (ONLY_CHUNKS, "Documents’ chunks"), (ALL_CHUNKS, "All"))
        return [
            {"title": title, "url": cl.get_query_string({"chunks": name}, ["after"]), "is_active": name == chosen}
            for name, title in tabs
        ]

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, *args: Any, **kwargs: Any) -> Paginator:
        """Estimate the rows of the usual list too, which leaves chunks of documents out."""
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        if (count := getattr(request, "known_count", None)) is not None:
            paginator.capped_count = count
        paginator.is_unfiltered = not is_search(request) and not has_filters(request.GET)
        return paginator

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow only the list's own filters: any other condition could read every row."""
        return lookup in LIST_PARAMETERS

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Apply the filters and the search together: the search statement itself has to filter."""
        if pk := parse_uuid_or_none(search_term):
            memory = self.get_queryset(request).filter(pk=pk).order_by("pk")
            if memory.exists():
                return memory, False
        try:
            found = find_in_list(request.GET, search_term.strip(), queryset)
        except ValueError as error:
            messages.warning(request, f"Nothing can match: {error}")
            return queryset.none(), False
        request.hits, request.wanted_words = found.hits, found.wanted_words
        request.text_selection, request.known_count = found.text_selection, found.count
        for note in found.notes:
            messages.warning(request, note)
        return found.rows, False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"source_system": "admin"} | super().get_changeform_initial_data(request)

    def save_model(self, request: HttpRequest, obj: Memory, form: MemoryForm, change: bool) -> None:
        """Save as the API does, with insights and queue. Raises Memory.DoesNotExist if it was deleted meanwhile."""
        if not change:
            row, _ = add_one(obj.namespace_id, form.payload)
            obj.pk, obj._state.adding = row["id"], False
        elif form.changed_data:
            memory = Memory.objects.filter(namespace_id=obj.namespace_id, pk=obj.pk)
            if edit_memory(obj.namespace_id, memory, **form.payload.columns(only_given=True)) is None:
                raise Memory.DoesNotExist
        tasks.embedding_trigger.notify_on_commit()
