"""Admin pages of patterns."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from memories.knowledge.models import Pattern, PatternType
from memories.knowledge.schemas.patterns import PatternIn, PatternPatch
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.filters import UserFilter
from memory_site.core.admin.formatting import format_number, render_json, render_name_cell, replace_underscores
from memory_site.core.admin.schema_forms import SchemaAdmin, SchemaForm, filter_newest, make_choice_filter
from memory_site.core.admin.widgets import JSONObjectField, LinesField, make_text_field
from sessions_app.admin.namespaces import NamespaceFilter

PATTERN_TYPE_COLOURS = {
    PatternType.PREFERENCE: "info",
    PatternType.WORKFLOW: "success",
    PatternType.DECISION_PATTERN: "warning",
}


class PatternForm(SchemaForm):
    whole, part = PatternIn, PatternPatch
    identity = ("namespace", "user_id", "key")
    taken = "This user already has a pattern under this key."
    description = make_text_field()
    examples = LinesField(
        required=False, widget=UnfoldAdminTextareaWidget({"rows": 5}), help_text="One on each line, newest first."
    )
    metadata = JSONObjectField()

    class Meta:
        model = Pattern
        fields = (
            *("namespace", "user_id", "key", "pattern_type", "description"),
            *("frequency", "confidence", "examples", "metadata"),
        )


DESCRIPTION_PREVIEW_LENGTH = 200


class PatternList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        beginning = Left("description", DESCRIPTION_PREVIEW_LENGTH)
        self.queryset = self.queryset.annotate(description_beginning=beginning).defer(
            "description", "examples", "metadata"
        )
        super().get_results(request)


@admin.register(Pattern)
class PatternAdmin(SchemaAdmin):
    empty_text = "API clients store patterns, or discover them in users' messages."
    form = PatternForm
    list_display = (
        "called",
        "described",
        "kind",
        "user_id",
        "namespace",
        "frequency_shown",
        "confidence_shown",
        "updated",
    )
    list_display_links = ("called",)
    list_filter = (NamespaceFilter, make_choice_filter("pattern_type", PatternType.values), UserFilter)
    list_before_template = "admin/knowledge/pattern/list_intro.html"
    search_fields = ("key",)  # shows the search box; get_search_results does the search
    search_help_text = "Key, or a part of it"
    fixed = ("namespace", "user_id", "key")
    readonly_fields = ("created", "updated", "metadata_shown")
    add_fieldsets = (
        (None, {"fields": ("namespace", ("user_id", "key"), "pattern_type", "description", "examples")}),
        ("Confidence", {"fields": (("frequency", "confidence"),)}),
        ("Metadata", {"fields": ("metadata",)}),
    )
    fieldsets = (
        (None, {"fields": ("key", ("user_id", "namespace"), "pattern_type", "description", "examples")}),
        ("Confidence", {"fields": (("frequency", "confidence"),)}),
        ("Metadata", {"fields": ("metadata_shown",)}),
        ("Edit metadata", {"fields": ("metadata",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PatternList]:
        return PatternList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        return (filter_newest(queryset, Q(key__icontains=text)) if text else queryset), False

    @display(description="pattern", ordering="key")
    def called(self, pattern: Pattern) -> SafeString:
        return render_name_cell(pattern.key)

    @display(description="description", ordering="description", empty_value="")
    def described(self, pattern: Pattern) -> SafeString:
        return render_name_cell(pattern.description_beginning or "")

    @display(description="type", label=PATTERN_TYPE_COLOURS, ordering="pattern_type")
    def kind(self, pattern: Pattern) -> tuple[str, str]:
        return pattern.pattern_type, replace_underscores(pattern.pattern_type)

    @display(description="frequency", ordering="frequency")
    def frequency_shown(self, pattern: Pattern) -> str:
        return format_number(pattern.frequency)

    @display(description="confidence", ordering="confidence")
    def confidence_shown(self, pattern: Pattern) -> str:
        return f"{pattern.confidence:.2f}"

    @display(description="metadata")
    def metadata_shown(self, pattern: Pattern) -> SafeString:
        return render_json(pattern.metadata)
