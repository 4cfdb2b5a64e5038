"""The list of entities: the records of other systems that memories describe."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from memories.admin.columns import count_relationships
from memories.admin.parameters import parse_namespace_id
from memories.console_urls import get_memory_url
from memories.graph.models import Entity
from memories.labels import MAX_COUNTED, fetch_labels
from memory_site.core.admin.base import CappedChangeList, ReadOnlyAdmin
from memory_site.core.admin.filters import ExactFilter, UserFilter
from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from memory_site.core.lists.sorting import bound_sort
from sessions_app.admin.namespaces import NamespaceFilter
from sessions_app.models import Namespace

#: Systems that the filter lists with counts, of each of so many namespaces.
MAX_SYSTEMS, MAX_NAMESPACES, MAX_TABS = 50, 20, 6
ENTITY_FIELDS = (
    *("namespace__name", "entity_system", "entity_type", "entity_id", "entity_name", "user_id", "update_count"),
    *("created_at", "last_updated", "source_system"),
)


class SystemFilter(DropdownFilter):
    """The external system, with the number of its entities."""

    title, parameter_name = "system", "entity_system"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        counts = count_systems(request.GET.get("namespace"))
        chosen = self.value()
        if chosen and chosen not in counts:
            counts[chosen] = 0
        return [(name, f"{name} ({format_count(number)})") for name, number in sorted(counts.items())]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:
            return queryset.none()
        return queryset.filter(entity_system=text) if text else queryset


class TypeFilter(ExactFilter):
    title, parameter_name = "entity type", "entity_type"


class EntityList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        self.queryset = self.queryset.select_related("namespace").only(*ENTITY_FIELDS)
        super().get_results(request)
        self.result_list = list(self.result_list)
        counts = count_relationships(self.result_list) if self.result_list else {}
        for entity in self.result_list:
            entity.relationship_count = counts[entity.pk]


@admin.register(Entity)
class EntityAdmin(ReadOnlyAdmin):
    empty_text = "An entity appears with the first memory that names a record of another system, such as a ticket."
    list_display = (
        "name",
        "entity_system",
        "entity_type",
        "entity_id",
        "user_id",
        "stored",
        "last_stored",
        "relationships",
    )
    optional_columns = ("namespace", "source_system", "created")
    list_display_links = None
    indexed_columns = ("created",)
    list_filter = (NamespaceFilter, SystemFilter, TypeFilter, UserFilter)
    ordering = ("-created_at", "-id")
    search_fields = ("entity_name",)  # shows the search box; get_search_results searches
    search_help_text = "Name or id, or a part of it"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return Entity.objects.alive().filter(entity_system__isnull=False)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EntityList]:
        return EntityList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {each.parameter_name for each in self.list_filter}

    def has_view_permission(self, request: HttpRequest, obj: Entity | None = None) -> bool:
        return request.user.has_perm("memories.view_memory")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Search the newest entities: a part of a name has no index."""
        text = search_term.strip()
        if not text or "\0" in text:
            return (queryset.none() if text else queryset), False
        newest, _ = bound_sort(queryset, "-created_at")
        return newest.filter(Q(entity_name__icontains=text) | Q(entity_id__icontains=text)), False

    def build_tabs(self, cl: ChangeList) -> list[dict[str, Any]]:
        """Return the systems as tabs, if there are few."""
        chosen = cl.params.get("entity_system") or None
        systems = next((spec.lookup_choices for spec in cl.filter_specs if isinstance(spec, SystemFilter)), [])
        tabs = [(None, "All systems"), *systems] if 1 < len(systems) <= MAX_TABS else []
        return [
            {"title": title, "url": cl.get_query_string({"entity_system": name}), "is_active": name == chosen}
            for name, title in tabs
        ]

    @display(description="entity", ordering="entity_name")
    def name(self, entity: Entity) -> SafeString:
        text = truncate(entity.entity_name or entity.entity_id, 80)
        return format_html('<a href="{}" class="underline">{}</a>', get_memory_url(entity), text)

    @display(description="times stored", ordering="update_count")
    def stored(self, entity: Entity) -> str:
        return format_number(entity.update_count + 1)

    @display(description="last stored", ordering=Coalesce(F("last_updated"), F("created_at")))
    def last_stored(self, entity: Entity) -> SafeString | None:
        return format_datetime(entity.last_updated or entity.created_at)

    @display(description="created", ordering="created_at")
    def created(self, entity: Entity) -> SafeString | None:
        return format_datetime(entity.created_at)

    @display(description="relationships")
    def relationships(self, entity: Entity) -> str:
        return format_number(entity.relationship_count)


def count_systems(namespace: str | None) -> dict[str, int]:
    """Return the number of entities of each system, up to MAX_COUNTED + 1 in a namespace."""
    try:
        chosen = parse_namespace_id(namespace)
    except ValueError:
        return {}
    ids = [chosen] if chosen else Namespace.objects.order_by("pk").values_list("pk", flat=True)[:MAX_NAMESPACES]
    counts: dict[str, int] = {}
    for namespace_id in ids:
        for label in fetch_labels(namespace_id, "entity_system", "", MAX_SYSTEMS, "asc", None):
            counts[label["value"]] = counts.get(label["value"], 0) + label["memories"]
    return counts


def format_count(number: int) -> str:
    return format_number(number) if number <= MAX_COUNTED else f"{format_number(MAX_COUNTED)}+"
