"""The console's pages of users: the list, and the page of one user with the graph."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from memories.console_urls import get_user_page_url
from memories.graph.analysis import AnalysisResult
from memories.graph.analysis_cache import get_analysis
from memories.graph.models import END_FIELDS, Relationship, RelationshipQuerySet, UserTotal
from memories.graph.summary import SHORT_CONTENT_LENGTH, fetch_short_memories, get_memory_name, graph_out
from memories.graph.svg import draw_graph, get_cluster_colour
from memories.models import Memory
from memories.users.admin.data_links import build_data_links
from memories.users.admin.user_facts import build_facts_context
from memories.users.admin.user_list import show_user_list
from memories.users.statistics import UNKNOWN_USER, get_statistics, get_totals
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_number, truncate
from memory_site.core.errors import DomainError
from sessions_app.admin.namespaces import get_selected_namespace

#: Per table of the analysis; entities, systems and newest relationships; lines of the drawing.
MAX_LISTED_FINDINGS, MAX_LISTED_ROWS, MAX_DRAWN_RELATIONSHIPS = 10, 30, 2_000
MAX_LINK_TEXT_LENGTH = 90
LINK_HTML = '<a href="{}" class="spoken-name underline">{}</a>'
ENTITY_COLUMNS = ("id", "entity_system", "entity_id", "entity_type", "entity_name")


@admin.register(UserTotal)
class UserMemoryAdmin(ReadOnlyAdmin):
    """Two read-only pages. The model is only their anchor: a user has many rows of UserTotal."""

    empty_text = "A user appears here with the first memory that carries a user_id."

    def get_urls(self) -> list[URLPattern]:
        """Name the list like a changelist, so that the side bar can link to it."""
        views = {"": (show_user_list, "changelist"), "user/": (show_user_page, "user")}
        return [
            path(part, self.admin_site.admin_view(partial(view, model_admin=self)), name=f"graph_usertotal_{name}")
            for part, (view, name) in views.items()
        ]

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return none, so that the index page does not list the model."""
        return {}

    def has_view_permission(self, request: HttpRequest, obj: UserTotal | None = None) -> bool:
        return request.user.has_perm("memories.view_memory")


def show_user_page(request: HttpRequest, model_admin: UserMemoryAdmin) -> HttpResponse:
    """Show one user's page; requires permission to view memories."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, user_id = get_selected_namespace(request), request.GET.get("user", "").replace("\0", "")
    now = get_totals(namespace.pk, user_id) if namespace else None
    if now is None:
        messages.warning(request, UNKNOWN_USER)
        return HttpResponseRedirect(reverse("admin:graph_usertotal_changelist"))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Memory of {truncate(user_id, MAX_LINK_TEXT_LENGTH)}",
        "namespace": namespace,
        "user_id": user_id,
        **build_data_links(request, namespace.pk, user_id),
        **build_facts_context(now, get_statistics(namespace.pk, user_id), namespace.pk, user_id),
        **build_graph_context(namespace.pk, user_id),
        **build_entities_context(namespace.pk, user_id, request.GET.get("system", "").replace("\0", "")),
        "relationships": list_newest_relationships(namespace.pk, user_id),
        "max_rows": MAX_LISTED_ROWS,
    }
    return TemplateResponse(request, "admin/graph/usertotal/user.html", context)


def build_graph_context(namespace_id: int, user_id: str) -> dict[str, Any]:
    """Return the drawing, its legend and the tables; or the reason why there is none."""
    try:
        analysis = get_analysis(namespace_id, user_id)
    except DomainError as error:
        return {"graph_unavailable": str(error)}
    if not analysis.central:
        return {"graph_unavailable": "No two of these memories are related yet."}
    ids = [each.id for each in analysis.central]
    among = get_user_relationships(namespace_id, user_id).among(ids).order_by("-strength", "-id")
    lines = list(among.values("from_memory_id", "to_memory_id", "type", "strength")[:MAX_DRAWN_RELATIONSHIPS])
    return {
        "graph_svg": draw_graph(analysis, fetch_short_memories(namespace_id, user_id, ids), lines),
        "line_types": sorted({line["type"] for line in lines}),
        "drawing_note": describe_drawing(analysis),
        **build_graph_tables(graph_out(analysis, namespace_id, user_id, MAX_LISTED_FINDINGS)),
    }


def get_user_relationships(namespace_id: int, user_id: str) -> RelationshipQuerySet:
    return Relationship.objects.in_namespace(namespace_id).filter(owner=user_id)


def describe_drawing(analysis: AnalysisResult) -> str:
    drawn, connected = len(analysis.central), analysis.connected
    note = "All connected memories are drawn."
    if drawn < connected:
        note = f"The {format_number(drawn)} most central of {format_number(connected)} connected memories are drawn."
    if isolated := analysis.memories - connected:
        note += f" {format_number(isolated)} more {'has' if isolated == 1 else 'have'} no relationship."
    return note


def build_graph_tables(analysis: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of the tables, made of GraphOut."""
    return {
        "central": [
            (format_memory_link(each["memory"]), each["degree"], f"{each['score']:.3f}") for each in analysis["central"]
        ],
        "clusters": [
            (
                get_cluster_colour(each["id"] - 1),
                format_link(each["members"][0], each["label"]),
                format_number(each["size"]),
            )
            for each in analysis["clusters"]
        ],
        "cluster_total": format_number(analysis["cluster_total"]),
        "bridges": [
            (
                format_memory_link(each["from_memory"]),
                each["types"],
                format_memory_link(each["to_memory"]),
                format_number(each["separates"]),
            )
            for each in analysis["bridges"]
        ],
        "bridge_total": format_number(analysis["bridge_total"]),
        "connectors": [
            (format_memory_link(each["memory"]), format_number(each["separates"])) for each in analysis["connectors"]
        ],
        "connector_total": format_number(analysis["connector_total"]),
    }


def get_memory_page_url(pk: UUID) -> str:
    return reverse("admin:memories_memory_change", args=[pk])


def format_memory_link(memory: dict[str, Any]) -> SafeString:
    return format_link(memory["id"], get_memory_name(memory))


def format_link(pk: UUID, name: str) -> SafeString:
    return format_html(LINK_HTML, get_memory_page_url(pk), truncate(name, MAX_LINK_TEXT_LENGTH))


def build_entities_context(namespace_id: int, user_id: str, system: str) -> dict[str, Any]:
    """Return the newest entities of one external system or of all, and the systems with their numbers of entities."""
    mine = Memory.objects.in_namespace(namespace_id).filter(owner=user_id, entity_id__isnull=False)
    systems = (
        mine.values_list("entity_system").annotate(n=Count("pk")).order_by("-n", "entity_system")[:MAX_LISTED_ROWS]
    )
    listed = mine.filter(entity_system=system) if system else mine
    address = get_user_page_url(namespace_id, user_id)
    return {
        "systems": [
            (name, format_number(n), f"{address}&{urlencode({'system': name})}#entities", name == system)
            for name, n in systems
        ],
        "system": system,
        "all_systems": f"{address}#entities",
        "entities": [
            (get_memory_page_url(row["id"]), row)
            for row in listed.newest_first().values(*ENTITY_COLUMNS)[:MAX_LISTED_ROWS]
        ],
    }


def list_newest_relationships(namespace_id: int, user_id: str) -> list[tuple]:
    """Return rows of the newest relationships: (link to one end, type, address of its page, other end, strength)."""
    beginnings = {f"{end}_beginning": Left(f"{end}__content", SHORT_CONTENT_LENGTH) for end in END_FIELDS}
    columns = ("id", "type", "strength", *beginnings)
    columns += tuple(f"{end}{part}" for end in END_FIELDS for part in ("_id", "__entity_name"))
    mine = get_user_relationships(namespace_id, user_id).annotate(**beginnings).order_by("-created_at", "-id")
    return [
        (
            format_end_link(row, "from_memory"),
            row["type"],
            reverse("admin:graph_relationship_change", args=[row["id"]]),
            format_end_link(row, "to_memory"),
            row["strength"],
        )
        for row in mine.values(*columns)[:MAX_LISTED_ROWS]
    ]


def format_end_link(row: dict[str, Any], end: str) -> SafeString:
    return format_link(row[f"{end}_id"], row[f"{end}__entity_name"] or row[f"{end}_beginning"])
