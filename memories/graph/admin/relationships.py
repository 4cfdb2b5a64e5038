"""The console's pages of relationships."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.admin.relationships import (
    RELATIONSHIP_TYPE_COLOURS,
    annotate_excerpts,
    format_memory_link,
)
from memories.admin.search import parse_uuid_or_none
from memories.graph.models import END_FIELDS, Relationship, RelationshipType
from memories.models import Memory
from memory_site.core.admin.base import LinkAdmin
from memory_site.core.admin.formatting import render_json, truncate
from memory_site.core.admin.schema_forms import refuse_duplicate
from memory_site.core.admin.widgets import JSONObjectField
from memory_site.core.http.fields import check_json_object
from sessions_app.admin.namespaces import NamespaceFilter

RELATIONSHIP_HTML = (
    '<span class="spoken-name">{}</span> <span class="spoken-arrow">→</span> <span class="spoken-name">{}</span>'
)
DUPLICATE_MESSAGE = "These two memories have this relationship already."


class RelationshipTypeFilter(DropdownFilter):
    title, parameter_name = "type", "type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return RelationshipType.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(type=self.value()) if self.value() in RelationshipType.values else queryset


def build_memory_field() -> forms.ModelChoiceField:
    memories = Memory.objects.alive().defer("search_vector")
    errors = {"invalid_choice": "There is no such memory."}
    widget = UnfoldAdminTextInputWidget({"class": "font-mono"})
    return forms.ModelChoiceField(memories, widget=widget, help_text="A memory's id.", error_messages=errors)


class RelationshipForm(forms.ModelForm):
    from_memory = build_memory_field()
    to_memory = build_memory_field()
    strength = forms.FloatField(
        min_value=0, max_value=1, initial=1, widget=UnfoldAdminTextInputWidget, help_text="From 0 to 1."
    )
    metadata = JSONObjectField()

    class Meta:
        model = Relationship
        fields = (*END_FIELDS, "type", "strength", "metadata")

    def clean_metadata(self) -> dict[str, Any]:
        try:
            return check_json_object({} if self.cleaned_data["metadata"] is None else self.cleaned_data["metadata"])
        except ValueError as error:
            raise forms.ValidationError(f"This {error}.") from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        start, finish = (cleaned.get(end, getattr(self.instance, f"{end}_id", None)) for end in END_FIELDS)
        if isinstance(start, Memory) and isinstance(finish, Memory):
            self._check_ends(start, finish)
        if not self.errors:
            rows = Relationship.objects.filter(from_memory=start, to_memory=finish, type=cleaned["type"])
            refuse_duplicate(self, rows, DUPLICATE_MESSAGE)
        return cleaned

    def _check_ends(self, start: Memory, finish: Memory) -> None:
        if start == finish:
            self.add_error(END_FIELDS[1], "A memory cannot be related to itself.")
        elif (start.namespace_id, start.owner) != (finish.namespace_id, finish.owner):
            self.add_error(END_FIELDS[1], "This memory is another user's, or another namespace's.")
        self.instance.namespace_id, self.instance.owner = start.namespace_id, start.owner

    def validate_constraints(self) -> None:
        """Skip the model's checks: `clean` has done them, with better messages."""


@admin.register(Relationship)
class RelationshipAdmin(LinkAdmin):
    empty_text = "Relationships connect two memories of one user. Agents store them, and tool results bring their own."
    form = RelationshipForm
    list_display = ("joined", "kind", "strength", "owner", "namespace", "created")
    list_display_links = ("joined",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, RelationshipTypeFilter)
    ordering = ("-id",)  # by creation: ids are UUIDv7, and their index exists anyway
    search_fields = ("owner",)  # shows the search box; get_search_results searches
    search_help_text = "Either memory's id, or the user"
    readonly_fields = ("memories", "whose", "created", "updated", "metadata_shown")
    add_fieldsets = ((None, {"fields": (*END_FIELDS, "type", "strength", "metadata")}),)
    fieldsets = (
        (None, {"fields": ("memories", ("type", "strength"), "metadata_shown")}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": ("whose", ("created", "updated"))}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return annotate_excerpts(Relationship.objects.select_related("namespace"))

    def get_fieldsets(self, request: HttpRequest, obj: Relationship | None = None) -> tuple:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Relationship | None = None) -> tuple[str, ...]:
        """Forbid changes of the ends of an existing relationship."""
        return (*self.readonly_fields, *END_FIELDS) if obj else self.readonly_fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        if pk := parse_uuid_or_none(text):
            return queryset.filter(Q(from_memory=pk) | Q(to_memory=pk)), False
        return (queryset.filter(owner=text) if text else queryset), False

    @display(description="relationship", ordering="from_memory__content")
    def joined(self, link: Relationship) -> SafeString:
        return format_html(RELATIONSHIP_HTML, *(truncate(getattr(link, f"{end}_beginning"), 60) for end in END_FIELDS))

    @display(description="type", label=RELATIONSHIP_TYPE_COLOURS, ordering="type")
    def kind(self, link: Relationship) -> str:
        return link.type

    @display(description="memories")
    def memories(self, link: Relationship) -> SafeString:
        """Render links to both memories."""
        links = [
            format_memory_link(getattr(link, f"{end}_id"), getattr(link, f"{end}_beginning")) for end in END_FIELDS
        ]
        return format_html('{} <span class="spoken-arrow">→</span> {}', *links)

    @display(description="user", empty_value="none")
    def whose(self, link: Relationship) -> str | None:
        return link.owner or None

    @display(description="metadata")
    def metadata_shown(self, link: Relationship) -> SafeString:
        return render_json(link.metadata)
