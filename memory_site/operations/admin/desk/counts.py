"""Counts by type and by user, with totals; each number leads to its memories."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.admin import ModelAdmin

from memories.graph.models import UserTotal
from memories.models import Memory
from memory_site.core.admin.formatting import format_number, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

MAX_USERS = 100
LINK_HTML = '<a href="{}" class="underline">{}</a>'


def show_counts(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the counts of one namespace, or of all."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    form = build_namespace_form(request, model_admin, namespace)
    types = count_types(namespace)
    total = sum(types.values())
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Counts by type and by user",
        "namespace_form": form,
        "media": forms.Media(form.Media),
        "total": format_number(total),
        "types": build_type_table(namespace, types, total),
        "users": build_user_table(namespace, total),
        "max_users": MAX_USERS,
    }
    return TemplateResponse(request, "admin/operations/desk/counts.html", context)


def count_types(namespace: Namespace | None) -> dict[str, int]:
    rows = Memory.objects.alive() if namespace is None else Memory.objects.in_namespace(namespace.pk)
    return dict(rows.values_list("memory_type").annotate(n=Count("pk")).order_by("-n", "memory_type"))


def list_largest_users(namespace: Namespace | None) -> list[tuple[str, int]]:
    """Return the users with most memories from the totals that triggers keep: no memory is read."""
    rows = UserTotal.objects.all() if namespace is None else UserTotal.objects.filter(namespace=namespace)
    sums = rows.values_list("user_id").annotate(n=Sum("memories")).filter(n__gt=0)
    return list(sums.order_by("-n", "user_id")[:MAX_USERS])


def sum_users(namespace: Namespace | None) -> tuple[int, int]:
    """Return how many users have memories, and how many memories they have."""
    rows = UserTotal.objects.all() if namespace is None else UserTotal.objects.filter(namespace=namespace)
    by_user = rows.values("user_id").annotate(n=Sum("memories")).filter(n__gt=0)
    found = by_user.aggregate(users=Count("user_id"), memories=Sum("n"))
    return found["users"], int(found["memories"] or 0)


def link_memories(namespace: Namespace | None, text: Any, **parameters: Any) -> str:
    given = ({"namespace": namespace.pk} if namespace else {}) | parameters
    return format_html(LINK_HTML, f"{reverse('admin:memories_memory_changelist')}?{urlencode(given)}", text)


def format_share(number: int, total: int) -> str:
    return f"{100 * number / total:.1f} %" if total else "-"


def build_type_table(namespace: Namespace | None, types: dict[str, int], total: int) -> dict[str, list]:
    rows = [
        [
            kind.replace("_", " "),
            link_memories(namespace, format_number(number), memory_type=kind),
            format_share(number, total),
        ]
        for kind, number in types.items()
    ]
    return {
        "headers": ["type", "memories", "share"],
        "rows": [*rows, build_total_row(namespace, total)] if rows else [],
    }


def build_user_table(namespace: Namespace | None, total: int) -> dict[str, list]:
    largest = list_largest_users(namespace)
    users, of_users = sum_users(namespace)
    rows = [
        [
            truncate(user, 60),
            link_memories(namespace, format_number(number), user_id=user),
            format_share(number, total),
        ]
        for user, number in largest
    ]
    others = of_users - sum(number for _, number in largest)
    if users > len(largest):
        rows.append(
            [f"{format_number(users - len(largest))} more users", format_number(others), format_share(others, total)]
        )
    without = max(total - of_users, 0)
    if total:
        rows.append(["(no user)", format_number(without), format_share(without, total)])
        rows.append(build_total_row(namespace, total))
    return {"headers": ["user", "memories", "share"], "rows": rows}


def build_total_row(namespace: Namespace | None, total: int) -> list:
    return [
        format_html("<b>{}</b>", "total"),
        format_html("<b>{}</b>", link_memories(namespace, format_number(total))),
        "",
    ]
