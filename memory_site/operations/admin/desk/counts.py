"""Counts by type and by user, with totals; each number leads to its memories."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from memories.console_urls import build_memories_url
from memories.counts import count_memories_by, count_users, list_top_users
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
    types = count_memories_by("memory_type", namespace and namespace.pk)
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


def link_memories(namespace: Namespace | None, text: Any, **parameters: Any) -> SafeString:
    scope = {"namespace": namespace.pk} if namespace else {}
    return format_html(LINK_HTML, build_memories_url(**scope, **parameters), text)


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
    scope = namespace and namespace.pk
    largest, totals = list_top_users(scope, MAX_USERS), count_users(scope)
    rows = [
        [
            truncate(user.user_id, 60),
            user.namespace,
            link_user(user.namespace_id, user.user_id, format_number(user.memories)),
            format_share(user.memories, total),
        ]
        for user in largest
    ]
    others = totals.of_users - sum(user.memories for user in largest)
    if totals.users > len(largest):
        name = f"{format_number(totals.users - len(largest))} more users"
        rows.append([name, "", format_number(others), format_share(others, total)])
    if total:
        rows.append(["(no user)", "", format_number(totals.of_nobody), format_share(totals.of_nobody, total)])
        rows.append(build_total_row(namespace, total, ""))
    return {"headers": ["user", "namespace", "memories", "share"], "rows": rows}


def link_user(namespace_id: int, user_id: str, text: Any) -> SafeString:
    return format_html(LINK_HTML, build_memories_url(namespace=namespace_id, user_id=user_id), text)


def build_total_row(namespace: Namespace | None, total: int, *between: str) -> list:
    number = format_html("<b>{}</b>", link_memories(namespace, format_number(total)))
    return [format_html("<b>{}</b>", "total"), *between, number, ""]
