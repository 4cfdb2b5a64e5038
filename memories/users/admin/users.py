"""The console's pages of what is remembered of each user: the list, and one user's graph, drawn."""

from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from memories.admin.addresses import address
from memories.graph.analysis import Shape, shape_of
from memories.graph.models import Relationship, RelationshipQuerySet, UserStatistics, UserTotal
from memories.graph.summary import BEGINNING, graph_out, name_of, short_memories
from memories.graph.svg import colour, picture
from memories.models import Memory
from memories.users.statistics import statistics, totals
from memory_site.core.admin.base import ReadAdmin
from memory_site.core.admin.formatting import grouped, moment, shortened
from memory_site.core.http.problems import Problem
from sessions_app.admin.shared import namespace_field
from sessions_app.admin.statistics import chosen
from sessions_app.models import Namespace

PER_PAGE, LAST_PAGE = 50, 200
#: On a user's page: of central memories and the like, of entities and relationships, and of lines in the picture.
FOREMOST, NEWEST, LINES = 10, 30, 2_000
NAME_LENGTH, TYPES_NAMED = 90, 2
HEADERS = ("user", "namespace", "memories", "relationships", "entities", "mostly", "first", "latest")
LINK = '<a href="{}" class="spoken-name underline">{}</a>'
UNKNOWN = "Nothing is known of this user."
ENTITY = ("id", "entity_system", "entity_id", "entity_type", "entity_name")
ENDS = ("from_memory", "to_memory")


class SearchForm(forms.Form):
    q = forms.CharField(label="User id, or how it begins", required=False, widget=UnfoldAdminTextInputWidget)


@admin.register(UserTotal)
class UserMemoryAdmin(ReadAdmin):
    """Two pages to look at; of the rows behind them a user may have many."""

    def get_urls(self) -> list[URLPattern]:
        """Named as lists are, so that the side bar can lead there."""
        views = {"": (users, "changelist"), "user/": (user_page, "user")}
        return [
            path(part, self.admin_site.admin_view(partial(view, model_admin=self)), name=f"graph_usertotal_{name}")
            for part, (view, name) in views.items()
        ]

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """None: in the overview it would stand by the name of those rows."""
        return {}

    def has_view_permission(self, request: HttpRequest, obj: UserTotal | None = None) -> bool:
        return request.user.has_perm("memories.view_memory")


def users(request: HttpRequest, model_admin: UserMemoryAdmin) -> HttpResponse:
    """The list, in the order of namespaces and user ids: of totals as of now, and statistics of the last refresh."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, text, page = chosen(request), request.GET.get("q", "").replace("\0", "").strip(), page_number(request)
    rows = list(listed(namespace, text)[(page - 1) * PER_PAGE : page * PER_PAGE + 1])
    chooser = namespace_field(request, model_admin, namespace)
    asked = {"namespace": namespace.pk if namespace else "", "q": text}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Users’ memory",
        "choosers": [chooser, SearchForm({"q": text})],
        "media": forms.Media(chooser.Media),
        "narrowed": namespace or text,
        "table": {"headers": HEADERS, "rows": cells(rows[:PER_PAGE])},
        "page": page,
        "earlier": page > 1 and urlencode(asked | {"page": page - 1}),
        "later": len(rows) > PER_PAGE and page < LAST_PAGE and urlencode(asked | {"page": page + 1}),
    }
    return TemplateResponse(request, "admin/graph/usertotal/list.html", context)


def page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return min(max(int(text), 1), LAST_PAGE) if text.isascii() and text[:6].isdigit() and len(text) < 7 else 1


def listed(namespace: Namespace | None, text: str) -> QuerySet:
    """{namespace_id, user_id, memory_total, relationship_total} of those who have anything."""
    rows = UserTotal.objects.filter(namespace=namespace) if namespace else UserTotal.objects.all()
    rows = rows.filter(user_id__startswith=text) if text else rows
    rows = rows.values("namespace_id", "user_id").order_by("namespace_id", "user_id")
    sums = rows.annotate(memory_total=Sum("memories"), relationship_total=Sum("relationships"))
    return sums.filter(memory_total__gt=0)


def cells(rows: list[dict[str, Any]]) -> list[list]:
    """As the theme's table takes it. Who came after the last refresh has no statistics yet."""
    spaces, names = ({row[key] for row in rows} for key in ("namespace_id", "user_id"))
    known = UserStatistics.objects.filter(namespace__in=spaces, user_id__in=names)
    known = {(each.namespace_id, each.user_id): each for each in known.defer("relationships")}
    spaces = dict(Namespace.objects.filter(pk__in=spaces).values_list("pk", "name"))
    return [
        [
            format_html(LINK, page_of(row["namespace_id"], row["user_id"]), shortened(row["user_id"], 60)),
            spaces.get(row["namespace_id"], "-"),
            grouped(row["memory_total"]),
            grouped(row["relationship_total"]),
            *figures(known.get((row["namespace_id"], row["user_id"]))),
        ]
        for row in rows
    ]


def figures(found: UserStatistics | None) -> list:
    if found is None:
        return ["-"] * 4
    kinds = sorted(found.types, key=found.types.get, reverse=True)[:TYPES_NAMED]
    return [
        grouped(found.entities),
        ", ".join(kind.replace("_", " ") for kind in kinds),
        moment(found.first_at),
        moment(found.latest_at),
    ]


def page_of(namespace_id: int, user_id: str) -> str:
    return f"{reverse('admin:graph_usertotal_user')}?{urlencode({'namespace': namespace_id, 'user': user_id})}"


def user_page(request: HttpRequest, model_admin: UserMemoryAdmin) -> HttpResponse:
    """One user's page, for those who may look at memories."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, user_id = chosen(request), request.GET.get("user", "").replace("\0", "")
    now = totals(namespace.pk, user_id) if namespace else None
    if now is None:
        messages.warning(request, UNKNOWN)
        return HttpResponseRedirect(reverse("admin:graph_usertotal_changelist"))
    mine = {"namespace": namespace.pk, "user_id": user_id}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Memory of {shortened(user_id, NAME_LENGTH)}",
        "namespace": namespace,
        "user_id": user_id,
        "memories": reverse("admin:memories_memory_changelist") + address(**mine),
        **counted(now, statistics(namespace.pk, user_id), mine),
        **drawn(namespace.pk, user_id),
        **entities(namespace.pk, user_id, request.GET.get("system", "").replace("\0", "")),
        "relationships": newest(namespace.pk, user_id),
        "newest": NEWEST,
    }
    return TemplateResponse(request, "admin/graph/usertotal/user.html", context)


def counted(now: dict[str, Any], known: dict[str, Any] | None, mine: dict[str, Any]) -> dict[str, Any]:
    """Totals as of now; entities, types and times as of the last refresh."""
    types = sorted(known["types"].items(), key=lambda each: -each[1]) if known else []
    memories = reverse("admin:memories_memory_changelist")
    return {
        "cards": [
            ("Memories", grouped(now["memories"])),
            ("Relationships", grouped(now["relationships"])),
            ("Entities", grouped(known["entities"]) if known else "-"),
            ("First", f"{known['first_at']:%Y-%m-%d}" if known else "-"),
            ("Latest", f"{known['latest_at']:%Y-%m-%d}" if known else "-"),
        ],
        "types": [
            (kind.replace("_", " "), grouped(n), memories + address(**mine, memory_type=kind)) for kind, n in types
        ],
        "refreshed_at": known and moment(known["refreshed_at"]),
    }


def drawn(namespace_id: int, user_id: str) -> dict[str, Any]:
    """The picture with its legend, and what it shows in words; or why there is none."""
    try:
        shape = shape_of(namespace_id, user_id)
    except Problem as problem:
        return {"why_not": problem.detail}
    if not shape.central:
        return {"why_not": "None of these memories is related to another one yet."}
    ids = [each.id for each in shape.central]
    among = relationships_of(namespace_id, user_id).among(ids).order_by("-strength", "-id")
    lines = list(among.values("from_memory_id", "to_memory_id", "type", "strength")[:LINES])
    return {
        "picture": picture(shape, short_memories(namespace_id, user_id, ids), lines),
        "line_types": sorted({line["type"] for line in lines}),
        "remark": remark(shape),
        **in_words(graph_out(shape, namespace_id, user_id, FOREMOST)),
    }


def relationships_of(namespace_id: int, user_id: str) -> RelationshipQuerySet:
    return Relationship.objects.in_namespace(namespace_id).filter(owner=user_id)


def remark(shape: Shape) -> str:
    alone = shape.memories - shape.connected
    shown = f"the {grouped(len(shape.central))} most central of {grouped(shape.connected)} connected memories"
    drawn = f"Drawn are {shown}." if shape.connected > len(shape.central) else "Every connected memory is drawn."
    return f"{drawn} {grouped(alone)} more {'has' if alone == 1 else 'have'} no relationship." if alone else drawn


def in_words(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "central": [(linked(each["memory"]), each["degree"], f"{each['score']:.3f}") for each in found["central"]],
        "clusters": [
            (colour(each["id"] - 1), link(each["members"][0], each["label"]), grouped(each["size"]))
            for each in found["clusters"]
        ],
        "cluster_total": grouped(found["cluster_total"]),
        "bridges": [
            (linked(each["from_memory"]), each["types"], linked(each["to_memory"]), grouped(each["separates"]))
            for each in found["bridges"]
        ],
        "bridge_total": grouped(found["bridge_total"]),
        "connectors": [(linked(each["memory"]), grouped(each["separates"])) for each in found["connectors"]],
        "connector_total": grouped(found["connector_total"]),
    }


def page_of_memory(pk: UUID) -> str:
    return reverse("admin:memories_memory_change", args=[pk])


def linked(memory: dict[str, Any]) -> SafeString:
    return link(memory["id"], name_of(memory))


def link(pk: UUID, name: str) -> SafeString:
    return format_html(LINK, page_of_memory(pk), shortened(name, NAME_LENGTH))


def entities(namespace_id: int, user_id: str, system: str) -> dict[str, Any]:
    """The newest entities, of one external system or of all, and the systems with how many each has."""
    mine = Memory.objects.in_namespace(namespace_id).filter(owner=user_id, entity_id__isnull=False)
    systems = mine.values_list("entity_system").annotate(n=Count("pk")).order_by("-n", "entity_system")[:NEWEST]
    narrowed = mine.filter(entity_system=system) if system else mine
    address = page_of(namespace_id, user_id)
    return {
        "systems": [
            (name, grouped(n), f"{address}&{urlencode({'system': name})}#entities", name == system)
            for name, n in systems
        ],
        "system": system,
        "all_systems": f"{address}#entities",
        "entities": [(page_of_memory(row["id"]), row) for row in narrowed.newest_first().values(*ENTITY)[:NEWEST]],
    }


def newest(namespace_id: int, user_id: str) -> list[tuple]:
    """The newest relationships, as (one end, type, address of its page, other end, strength)."""
    beginnings = {f"{end}_beginning": Left(f"{end}__content", BEGINNING) for end in ENDS}
    columns = ("id", "type", "strength", *beginnings)
    columns += tuple(f"{end}{part}" for end in ENDS for part in ("_id", "__entity_name"))
    mine = relationships_of(namespace_id, user_id).annotate(**beginnings).order_by("-created_at", "-id")
    return [
        (
            end_of(row, "from_memory"),
            row["type"],
            reverse("admin:graph_relationship_change", args=[row["id"]]),
            end_of(row, "to_memory"),
            row["strength"],
        )
        for row in mine.values(*columns)[:NEWEST]
    ]


def end_of(row: dict[str, Any], end: str) -> SafeString:
    return link(row[f"{end}_id"], row[f"{end}__entity_name"] or row[f"{end}_beginning"])
