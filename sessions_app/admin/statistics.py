"""The console's page of figures about sessions."""

import json
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from sessions_app.admin.shared import build_namespace_form, get_requested_namespace, get_session_url
from sessions_app.analytics import compute_analytics
from sessions_app.models import Namespace, SessionMemory

CHART_DAYS = 30
UNKNOWN_NAMESPACE = "There is no such namespace: these are the figures of all."


def statistics_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The page itself, for those who may look at sessions."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    chooser = build_namespace_form(request, model_admin, namespace)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Session statistics",
        "chooser": chooser,
        "media": forms.Media(chooser.Media),
        "chosen": namespace,
        "most": settings.MEMORY_MAX_CONTEXT_LENGTH,
        "days": CHART_DAYS,
        **build_statistics(namespace),
    }
    return TemplateResponse(request, "admin/sessions_app/sessionmemory/statistics.html", context)


def get_selected_namespace(request: HttpRequest) -> Namespace | None:
    try:
        return get_requested_namespace(request)
    except forms.ValidationError:
        messages.warning(request, UNKNOWN_NAMESPACE)
        return None


def build_statistics(namespace: Namespace | None) -> dict[str, Any]:
    found = compute_analytics(namespace and namespace.pk, CHART_DAYS)
    return {
        "cards": [
            ("Sessions", format_number(found["total_sessions"])),
            ("Interactions", format_number(found["total_interactions"])),
            ("Active in the last hour", format_number(found["active_last_hour"])),
            ("Average length", f"{found['average_length']:.1f}"),
        ],
        "chart": build_chart(found["interactions_per_day"]) if found["total_interactions"] else None,
        "busiest": build_busiest_table(found["busiest"]),
    }


def build_chart(per_day: list[dict[str, Any]]) -> str:
    """Every one of the last days, those without interactions too: a gap would look like no time at all."""
    counted = {str(each["day"]): each["interactions"] for each in per_day}
    today = timezone.now().date()
    days = [str(today - timedelta(days=ago)) for ago in reversed(range(CHART_DAYS))]
    bars = {
        "data": [counted.get(day, 0) for day in days],
        "label": "interactions",
        "backgroundColor": "var(--color-primary-600)",
        "borderRadius": 3,
        "displayYAxis": True,
        "maxTicksXLimit": 10,
    }
    return json.dumps({"labels": [day[5:] for day in days], "datasets": [bars]})


def build_busiest_table(rows: list[dict[str, Any]]) -> dict[str, list]:
    """As the theme's table takes it, with links."""
    names = [row["session_id"] for row in rows]
    known = SessionMemory.objects.filter(namespace__in=[row["namespace_id"] for row in rows], session_id__in=names)
    sessions = {
        (each.namespace_id, each.session_id): each for each in known.select_related("namespace").defer("history")
    }
    found = [(row, sessions.get((row["namespace_id"], row["session_id"]))) for row in rows]
    return {
        "headers": ["session", "namespace", "interactions", "last added to"],
        "rows": [
            [
                format_html(
                    '<a href="{}" class="spoken-name">{}</a>',
                    get_session_url(session.pk),
                    truncate(session.session_id, 60),
                ),
                session.namespace.name,
                format_number(row["history_length"]),
                format_datetime(session.updated_at),
            ]
            for row, session in found
            if session  # one may have been cleared since they were counted
        ],
    }
