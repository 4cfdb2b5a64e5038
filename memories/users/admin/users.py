"""The console's pages of users: the list, and the page of one user with the graph."""

from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.console_urls import build_list_query
from memories.graph.analysis import AnalysisResult
from memories.graph.analysis_cache import get_analysis
from memories.graph.models import END_FIELDS, Relationship, RelationshipQuerySet, UserStatistics, UserTotal
from memories.graph.summary import SHORT_CONTENT_LENGTH, fetch_short_memories, get_memory_name, graph_out
from memories.graph.svg import draw_graph, get_cluster_colour
from memories.models import Memory
from memories.users.statistics import UNKNOWN_USER, get_statistics, get_totals
from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from memory_site.core.errors import DomainError
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

PER_PAGE, MAX_PAGE = 50, 200
#: Per table of the analysis; entities, systems and newest relationships; lines of the drawing.
MAX_LISTED_FINDINGS, MAX_LISTED_ROWS, MAX_DRAWN_RELATIONSHIPS = 10, 30, 2_000
MAX_LINK_TEXT_LENGTH, MAX_SHOWN_TYPES = 90, 2
USER_TABLE_HEADERS = ("user", "namespace", "memories", "relationships", "entities", "mostly", "first", "latest")
LINK_HTML = '<a href="{}" class="spoken-name underline">{}</a>'
ENTITY_COLUMNS = ("id", "entity_system", "entity_id", "entity_type", "entity_name")


class UserSearchForm(forms.Form):
    q = forms.CharField(label="User id or its beginning", required=False, widget=UnfoldAdminTextInputWidget)


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


def show_user_list(request: HttpRequest, model_admin: UserMemoryAdmin) -> HttpResponse:
    """Show the list by namespace and user id: current totals, and statistics as of the last refresh."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, text, page = (
        get_selected_namespace(request),
        request.GET.get("q", "").replace("\0", "").strip(),
        parse_page_number(request),
    )
    rows = list(filter_totals(namespace, text)[(page - 1) * PER_PAGE : page * PER_PAGE + 1])
    namespace_form = build_namespace_form(request, model_admin, namespace)
    query = {"namespace": namespace.pk if namespace else "", "q": text}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Users’ memory",
        "filter_forms": [namespace_form, UserSearchForm({"q": text})],
        "media": forms.Media(namespace_form.Media),
        "is_filtered": namespace or text,
        "table": {"headers": USER_TABLE_HEADERS, "rows": build_table_rows(rows[:PER_PAGE])},
        "page": page,
        "previous_page": page > 1 and urlencode(query | {"page": page - 1}),
        "next_page": len(rows) > PER_PAGE and page < MAX_PAGE and urlencode(query | {"page": page + 1}),
    }
    return TemplateResponse(request, "admin/graph/usertotal/list.html", context)


def parse_page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text[:6].isdigit() and len(text) < 7 else 1


def filter_totals(namespace: Namespace | None, text: str) -> QuerySet:
    """Return {namespace_id, user_id, memory_total, relationship_total} of the users with memories."""
    rows = UserTotal.objects.filter(namespace=namespace) if namespace else UserTotal.objects.all()
    rows = rows.filter(user_id__startswith=text) if text else rows
    return rows.sum_by_user("namespace_id", namespace_id=None).filter(memory_total__gt=0)


def build_table_rows(rows: list[dict[str, Any]]) -> list[list]:
    """Return the rows of the theme's table component. Users that are newer than the statistics have none."""
    spaces, names = ({row[key] for row in rows} for key in ("namespace_id", "user_id"))
    known = UserStatistics.objects.filter(namespace__in=spaces, user_id__in=names)
    known = {(each.namespace_id, each.user_id): each for each in known.defer("relationships")}
    spaces = dict(Namespace.objects.filter(pk__in=spaces).values_list("pk", "name"))
    return [
        [
            format_html(
                LINK_HTML, get_user_page_url(row["namespace_id"], row["user_id"]), truncate(row["user_id"], 60)
            ),
            spaces.get(row["namespace_id"], "-"),
            format_number(row["memory_total"]),
            format_number(row["relationship_total"]),
            *format_statistics(known.get((row["namespace_id"], row["user_id"]))),
        ]
        for row in rows
    ]


def format_statistics(found: UserStatistics | None) -> list:
    if found is None:
        return ["-"] * 4
    kinds = sorted(found.types, key=found.types.get, reverse=True)[:MAX_SHOWN_TYPES]
    return [
        format_number(found.entities),
        ", ".join(kind.replace("_", " ") for kind in kinds),
        format_datetime(found.first_at),
        format_datetime(found.latest_at),
    ]


def get_user_page_url(namespace_id: int, user_id: str) -> str:
    return f"{reverse('admin:graph_usertotal_user')}?{urlencode({'namespace': namespace_id, 'user': user_id})}"


def show_user_page(request: HttpRequest, model_admin: UserMemoryAdmin) -> HttpResponse:
    """Show one user's page; requires permission to view memories."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, user_id = get_selected_namespace(request), request.GET.get("user", "").replace("\0", "")
    now = get_totals(namespace.pk, user_id) if namespace else None
    if now is None:
        messages.warning(request, UNKNOWN_USER)
        return HttpResponseRedirect(reverse("admin:graph_usertotal_changelist"))
    mine = {"namespace": namespace.pk, "user_id": user_id}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Memory of {truncate(user_id, MAX_LINK_TEXT_LENGTH)}",
        "namespace": namespace,
        "user_id": user_id,
        "memories": reverse("admin:memories_memory_changelist") + build_list_query(**mine),
        **build_statistics_context(now, get_statistics(namespace.pk, user_id), mine),
        **build_graph_context(namespace.pk, user_id),
        **build_entities_context(namespace.pk, user_id, request.GET.get("system", "").replace("\0", "")),
        "relationships": list_newest_relationships(namespace.pk, user_id),
        "max_rows": MAX_LISTED_ROWS,
    }
    return TemplateResponse(request, "admin/graph/usertotal/user.html", context)


def build_statistics_context(now: dict[str, Any], known: dict[str, Any] | None, mine: dict[str, Any]) -> dict[str, Any]:
    """Return the current totals, and entities, types and times as of the last refresh."""
    types = sorted(known["types"].items(), key=lambda each: -each[1]) if known else []
    memories = reverse("admin:memories_memory_changelist")
    return {
        "cards": [
            ("Memories", format_number(now["memories"])),
            ("Relationships", format_number(now["relationships"])),
            ("Entities", format_number(known["entities"]) if known else "-"),
            ("First", f"{known['first_at']:%Y-%m-%d}" if known else "-"),
            ("Latest", f"{known['latest_at']:%Y-%m-%d}" if known else "-"),
        ],
        "types": [
            (kind.replace("_", " "), format_number(n), memories + build_list_query(**mine, memory_type=kind))
            for kind, n in types
        ],
        "refreshed_at": known and format_datetime(known["refreshed_at"]),
    }


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
