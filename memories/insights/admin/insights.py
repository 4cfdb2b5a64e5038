"""The console's pages of insights. The text belongs to the memory and is edited on the memory's page."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.postgres.search import SearchQuery
from django.db.models import Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from memories.admin.search import parse_uuid_or_none
from memories.console_urls import get_memory_url
from memories.insights.admin.dashboard import dashboard_view
from memories.insights.admin.filters import LIST_FILTERS
from memories.insights.models import Insight, InsightQuerySet, InsightType
from memories.insights.quality_levels import QualityLevel, get_quality_level
from memories.insights.redaction import redact_project_name
from memories.insights.schemas import CollectionName, InsightProjects, InsightTopics, InsightTypeName
from memories.models import Embedding, Memory
from memories.schemas import remove_duplicates
from memories.states import is_alive
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.folding import render_text
from memory_site.core.admin.formatting import (
    format_datetime,
    format_number,
    render_name_cell,
    replace_underscores,
    truncate,
)
from memory_site.core.admin.schema_forms import SchemaAdmin, SchemaForm
from memory_site.core.admin.widgets import make_tags_field
from memory_site.core.http.fields import InputSchema, UnitInterval

INSIGHT_PREVIEW_LENGTH, MAX_NAMES_SHOWN = 160, 3
MEMORY_IS_ALIVE = is_alive("memory__")
INSIGHT_LIST_COLUMNS = (
    *("insight_type", "collection", "topics", "projects", "quality", "usage_count", "namespace__name"),
    *("memory__confidence", "memory__created_at"),
)
INSIGHT_TYPE_COLOURS = {
    InsightType.PATTERN: "info",
    InsightType.ARCHITECTURE: "primary",
    InsightType.BEST_PRACTICE: "success",
    InsightType.GOTCHA: "warning",
    InsightType.GENERAL: "default",
}
QUALITY_LEVEL_COLOURS = {QualityLevel.LOW: "warning", QualityLevel.MIDDLE: "info", QualityLevel.HIGH: "success"}
LINK_TEMPLATE = '<a href="{}" class="spoken-name underline">{}</a>'


class ParsedQuery(SearchQuery):
    """A text as a query for the words of memories."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.function = "memories_parse_query"


class InsightPatch(InputSchema):
    """Fields of an insight that can be changed here; the others are its memory's."""

    insight_type: InsightTypeName = None
    collection: CollectionName = None
    topics: InsightTopics = None
    projects: InsightProjects = None
    quality: UnitInterval = None


class InsightForm(SchemaForm):
    part = InsightPatch
    topics = make_tags_field()
    projects = make_tags_field()

    class Meta:
        model = Insight
        fields = ("insight_type", "collection", "topics", "projects", "quality")

    def clean(self) -> dict[str, Any]:
        """Redact names of projects that look secret."""
        cleaned = super().clean()
        if "projects" in cleaned:
            cleaned["projects"] = remove_duplicates(list(map(redact_project_name, cleaned["projects"])))
        return cleaned


class InsightList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Load only the columns of the list, and only the beginning of the text."""
        self.queryset = self.queryset.annotate(preview=Left("memory__content", INSIGHT_PREVIEW_LENGTH)).only(
            *INSIGHT_LIST_COLUMNS
        )
        super().get_results(request)


@admin.register(Insight)
class InsightAdmin(SchemaAdmin):
    empty_text = "Agents add insights, or mark them in the texts they store, below a line “★ Insight ─────”."
    form = InsightForm
    compressed_fields = False
    list_display = (
        *("preview", "type_label", "collection", "topics_cell", "projects_cell", "quality_label", "confidence", "uses"),
        *("namespace", "created"),
    )
    list_display_links = ("preview",)
    list_select_related = ("namespace", "memory")
    list_filter = LIST_FILTERS
    list_before_template = "admin/insights/insight/list_intro.html"
    ordering = ("-pk",)  # newest first, by the index of the primary key
    search_fields = ("memory__content",)  # shows the search box; get_search_results does the search
    search_help_text = "Words of the text, or an id"
    readonly_fields = (
        *("text", "memory_link", "source_link", "conversation_link", "namespace", "user"),
        *("confidence", "uses", "used", "created"),
    )
    fieldsets = (
        (None, {"fields": ("text",)}),
        ("Classification", {"fields": (("insight_type", "collection", "quality"), "topics", "projects")}),
        ("Facts", {"fields": (("namespace", "user", "created"), ("confidence", "uses", "used"))}),
        ("Origin", {"fields": ("memory_link", "source_link", "conversation_link")}),
    )
    marks = {}
    delete_confirmation_template = "admin/insights/insight/delete_confirmation.html"
    delete_selected_confirmation_template = "admin/insights/insight/delete_selected_confirmation.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the dashboard. Its name ends like a list's, which the side bar expects."""
        view = self.admin_site.admin_view(partial(dashboard_view, model_admin=self))
        return [path("glance/", view, name="insights_insightglance_changelist"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> InsightQuerySet:
        rows = Insight.objects.filter(MEMORY_IS_ALIVE).select_related("memory", "namespace")
        return rows.defer("digest", "bands", "memory__search_vector")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[InsightList]:
        return InsightList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        if pk := parse_uuid_or_none(search_term):
            return queryset.filter(pk=pk), False
        matches = Q(memory__search_vector=ParsedQuery(search_term))
        return (queryset.filter(matches) if search_term.strip() else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @display(description="insight", ordering="memory__content")
    def preview(self, insight: Insight) -> SafeString:
        return render_name_cell(insight.preview)

    @display(description="type", label=INSIGHT_TYPE_COLOURS, ordering="insight_type")
    def type_label(self, insight: Insight) -> tuple[str, str]:
        return insight.insight_type, replace_underscores(insight.insight_type)

    @display(description="topics", empty_value="-", ordering="topics")
    def topics_cell(self, insight: Insight) -> SafeString | None:
        return format_names(insight.topics)

    @display(description="projects", empty_value="-", ordering="projects")
    def projects_cell(self, insight: Insight) -> SafeString | None:
        return format_names(insight.projects)

    @display(description="quality", label=QUALITY_LEVEL_COLOURS, ordering="quality")
    def quality_label(self, insight: Insight) -> tuple[str, str]:
        return get_quality_level(insight.quality), f"{insight.quality:.2f}"

    @display(description="confidence", ordering="memory__confidence")
    def confidence(self, insight: Insight) -> str:
        return f"{insight.memory.confidence:.2f}"

    @display(description="uses", ordering="usage_count")
    def uses(self, insight: Insight) -> str:
        return format_number(insight.usage_count)

    @display(description="created", ordering="memory__created_at")
    def created(self, insight: Insight) -> SafeString | None:
        return format_datetime(insight.memory.created_at)

    @display(description="text")
    def text(self, insight: Insight) -> SafeString:
        return render_text(insight.memory.content)

    @display(description="last used", empty_value="never")
    def used(self, insight: Insight) -> SafeString | None:
        return format_datetime(insight.last_used_at)

    @display(description="user", empty_value="-")
    def user(self, insight: Insight) -> str | None:
        return insight.memory.user_id

    @display(description="memory")
    def memory_link(self, insight: Insight) -> SafeString:
        return format_html(
            LINK_TEMPLATE, get_memory_url(insight.memory), "Edit text, user and tags on the memory's page"
        )

    @display(description="extracted from", empty_value="-")
    def source_link(self, insight: Insight) -> SafeString | None:
        rows = (
            Memory.objects.alive()
            .filter(pk=insight.source_memory_id)
            .annotate(preview=Left("content", INSIGHT_PREVIEW_LENGTH))
        )
        memory = rows.only("pk").first() if insight.source_memory_id else None
        return memory and format_html(LINK_TEMPLATE, get_memory_url(memory), truncate(memory.preview, 100))

    @display(description="conversation", empty_value="-")
    def conversation_link(self, insight: Insight) -> SafeString | None:
        if insight.conversation_id is None:
            return None
        address = reverse("admin:sessions_app_conversation_change", args=[insight.conversation_id])
        return format_html(LINK_TEMPLATE, address, truncate(str(insight.conversation), 100))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """Count the memory and its vector too: the database's cascade deletes them, of which Django knows nothing.

        Deleting an insight needs the permission to delete its memory.
        """
        insights = list(objs)
        vectors = Embedding.objects.filter(memory__in=[each.pk for each in insights]).count()
        counts = {"insights": len(insights), "memories": len(insights), "vectors": vectors}
        contents = [truncate(each.memory.content, 120) for each in insights]
        missing = set() if request.user.has_perm("memories.delete_memory") else {"memory"}
        return contents, counts, missing, []

    def delete_model(self, request: HttpRequest, obj: Insight) -> None:
        Memory.objects.filter(pk=obj.pk).delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        Memory.objects.filter(pk__in=list(queryset.values_list("pk", flat=True))).delete()


def format_names(names: list[str]) -> SafeString | None:
    """Return the first MAX_NAMES_SHOWN names and how many more there are, with all of them as a tooltip."""
    if not names:
        return None
    more = f" +{len(names) - MAX_NAMES_SHOWN}" if len(names) > MAX_NAMES_SHOWN else ""
    first = truncate(", ".join(names[:MAX_NAMES_SHOWN]), 60)
    return format_html('<span class="memory-beginning" title="{}">{}{}</span>', ", ".join(names)[:1000], first, more)
