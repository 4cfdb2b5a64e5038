"""Console page of session statistics."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from memory_site.core.admin.charts import Cell, Chart, draw_chart
from memory_site.core.admin.formatting import format_datetime, format_number, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.admin.session_urls import get_session_url
from sessions_app.analytics import compute_analytics
from sessions_app.models import Namespace, SessionMemory

CHART_DAYS = 30
CHART_HOURS = 24


def statistics_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Render the page for users who may view sessions."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    form = build_namespace_form(request, model_admin, namespace)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Session statistics",
        "namespace_form": form,
        "media": forms.Media(form.Media),
        "selected": namespace,
        "history_limit": settings.MEMORY_MAX_CONTEXT_LENGTH,
        "days": CHART_DAYS,
        **build_statistics(namespace),
    }
    return TemplateResponse(request, "admin/sessions_app/sessionmemory/statistics.html", context)


def build_statistics(namespace: Namespace | None) -> dict[str, Any]:
    totals = compute_analytics(namespace.pk if namespace else None, CHART_DAYS, CHART_HOURS)
    return {
        "cards": [
            ("Sessions", format_number(totals["total_sessions"])),
            ("Interactions", format_number(totals["total_interactions"])),
            ("Active in the last hour", format_number(totals["active_last_hour"])),
            ("Average length", f"{totals['average_length']:.1f}"),
        ],
        "hours": draw_hours(totals["interactions_per_hour"]) if totals["total_interactions"] else None,
        "chart": draw_days(totals["interactions_per_day"]) if totals["total_interactions"] else None,
        "busiest": build_busiest_table(totals["busiest"]),
    }


def draw_days(per_day: list[dict[str, Any]]) -> Chart:
    """Draw the last CHART_DAYS days, including those without interactions."""
    today = timezone.now().date()
    days = [str(today - timedelta(days=ago)) for ago in reversed(range(CHART_DAYS))]
    return draw(days, {each["day"]: each["interactions"] for each in per_day}, slice(5, None))


def draw_hours(per_hour: list[dict[str, Any]]) -> Chart:
    """Draw the last 24 hours, including those without interactions."""
    now = timezone.now()
    hours = [f"{now - timedelta(hours=ago):%Y-%m-%dT%H}" for ago in reversed(range(CHART_HOURS))]
    return draw(hours, {each["hour"]: each["interactions"] for each in per_hour}, slice(11, None))


def draw(names: list[str], counts: dict[str, int], label: slice) -> Chart:
    numbers = [counts.get(name, 0) for name in names]
    rows = [(name.replace("T", " "), [Cell(number, "")]) for name, number in zip(names, numbers, strict=True)]
    return draw_chart(
        f"{sum(numbers):,} interactions.", [name[label] for name in names], {"interactions": numbers}, rows
    )


def build_busiest_table(rows: list[dict[str, Any]]) -> dict[str, list]:
    """Return headers and rows for the theme's table component, with links to the sessions."""
    names = [row["session_id"] for row in rows]
    known = SessionMemory.objects.filter(namespace__in=[row["namespace_id"] for row in rows], session_id__in=names)
    sessions = {
        (each.namespace_id, each.session_id): each for each in known.select_related("namespace").defer("history")
    }
    pairs = [(row, sessions.get((row["namespace_id"], row["session_id"]))) for row in rows]
    return {
        "headers": ["session", "namespace", "interactions", "updated"],
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
            for row, session in pairs
            if session  # it may have been cleared since it was counted
        ],
    }
