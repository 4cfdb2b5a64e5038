"""The console's list of users, with totals."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from memories.console_urls import build_memories_url, get_user_page_url
from memories.counts import UserTotals, count_unembedded, count_users
from memories.graph.models import UserStatistics, UserTotal
from memories.users.admin.data_links import format_data_links
from memory_site.core.admin.formatting import format_datetime, format_number, replace_underscores, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

PER_PAGE, MAX_PAGE = 50, 200
MAX_SHOWN_TYPES = 2
HEADERS = (
    "user",
    "namespace",
    "memories",
    "embedded",
    "relationships",
    "entities",
    "mostly",
    "first",
    "latest",
    "data",
)
LINK_HTML = '<a href="{}" class="spoken-name underline">{}</a>'
#: The choices of the order, and the fields that the rows are sorted by.
ORDERS = {
    "": ("user id", ()),
    "memories": ("most memories first", ("-memory_total",)),
    "relationships": ("most relationships first", ("-relationship_total",)),
}
EMPTY_CELLS = ["-"] * 4


class UserSearchForm(forms.Form):
    q = forms.CharField(label="User id or its beginning", required=False, widget=UnfoldAdminTextInputWidget)


class OrderForm(forms.Form):
    o = forms.ChoiceField(
        label="Order",
        required=False,
        choices=[(name, title) for name, (title, _) in ORDERS.items()],
        widget=UnfoldAdminSelectWidget,
    )


def show_user_list(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the users: current totals, and statistics as of the last refresh."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace, page = get_selected_namespace(request), parse_page_number(request)
    text, order = request.GET.get("q", "").replace("\0", "").strip(), request.GET.get("o", "")
    order = order if order in ORDERS else ""
    found = filter_totals(namespace, text, order)
    rows = list(found[(page - 1) * PER_PAGE : page * PER_PAGE + 1])
    namespace_form = build_namespace_form(request, model_admin, namespace)
    query = {"namespace": namespace.pk if namespace else "", "q": text, "o": order}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Users’ memory",
        "filter_forms": [namespace_form, UserSearchForm({"q": text}), OrderForm({"o": order})],
        "media": forms.Media(namespace_form.Media),
        "is_filtered": namespace or text,
        "table": {"headers": HEADERS, "rows": build_table_rows(request, rows[:PER_PAGE])},
        "totals": [] if text else list(build_totals(count_users(namespace.pk if namespace else None))),
        "page": page,
        "previous_page": page > 1 and urlencode(query | {"page": page - 1}),
        "next_page": len(rows) > PER_PAGE and page < MAX_PAGE and urlencode(query | {"page": page + 1}),
    }
    return TemplateResponse(request, "admin/graph/usertotal/list.html", context)


def parse_page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text[:6].isdigit() and len(text) < 7 else 1


def filter_totals(namespace: Namespace | None, text: str, order: str = "") -> QuerySet:
    """Return {namespace_id, user_id, memory_total, relationship_total} of the users with memories."""
    rows = UserTotal.objects.filter(namespace=namespace) if namespace else UserTotal.objects.all()
    rows = rows.filter(user_id__startswith=text) if text else rows
    rows = rows.sum_by_user("namespace_id", namespace_id=None).filter(memory_total__gt=0)
    return rows.order_by(*ORDERS[order][1], "namespace_id", "user_id")


def build_totals(totals: UserTotals) -> Iterator[tuple[str, str]]:
    """Yield names and numbers of the row above the list."""
    yield "users", format_number(totals.users)
    yield "memories of users", format_number(totals.of_users)
    yield "memories without a user", format_number(totals.of_nobody)
    yield "memories in all", format_number(totals.memories)


def build_table_rows(request: HttpRequest, rows: list[dict[str, Any]]) -> list[list]:
    """Return the rows of the theme's table component. Users that are newer than the statistics have none."""
    spaces, names = ({row[key] for row in rows} for key in ("namespace_id", "user_id"))
    known = UserStatistics.objects.filter(namespace__in=spaces, user_id__in=names)
    statistics = {(each.namespace_id, each.user_id): each for each in known.defer("relationships")}
    titles = dict(Namespace.objects.filter(pk__in=spaces).values_list("pk", "name"))
    waiting = count_unembedded([(row["namespace_id"], row["user_id"]) for row in rows])
    return [
        [
            *build_cells(row, titles.get(row["namespace_id"], "-"), waiting.get(key, 0), statistics.get(key)),
            format_data_links(request, *key),
        ]
        for row in rows
        for key in [(row["namespace_id"], row["user_id"])]
    ]


def build_cells(row: dict[str, Any], namespace: str, waiting: int, known: UserStatistics | None) -> list:
    mine = {"namespace": row["namespace_id"], "user_id": row["user_id"]}
    return [
        format_html(LINK_HTML, get_user_page_url(row["namespace_id"], row["user_id"]), truncate(row["user_id"], 60)),
        namespace,
        format_html('<a href="{}">{}</a>', build_memories_url(**mine), format_number(row["memory_total"])),
        format_share(row["memory_total"], waiting),
        format_number(row["relationship_total"]),
        *(format_statistics(known) if known else EMPTY_CELLS),
    ]


def format_share(memories: int, waiting: int) -> str:
    """Return the share of the memories that have their vector: 100 % only if all have."""
    share = 100 * max(memories - waiting, 0) // max(memories, 1)
    return f"{share} %"


def format_statistics(found: UserStatistics) -> list:
    kinds = sorted(found.types, key=found.types.get, reverse=True)[:MAX_SHOWN_TYPES]
    return [
        format_number(found.entities),
        ", ".join(map(replace_underscores, kinds)),
        format_datetime(found.first_at),
        format_datetime(found.latest_at),
    ]
