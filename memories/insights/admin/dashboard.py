"""The console's page of insight statistics: charts by type, quality and project, each with a table of links."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from memories.insights.quality_levels import LEVEL_RANGES, TENTH_RANGES, TENTHS, get_quality_level
from memories.insights.statistics import fetch_detailed_statistics
from memory_site.core.admin.formatting import format_number, replace_underscores, truncate
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace

MAX_BAR_LABEL_LENGTH, MAX_TABLE_NAME_LENGTH = 24, 60
LINK_TEMPLATE = '<a href="{}" class="insight-count" title="{}">{}</a>'
# As the theme's own options, which options of a chart replace as a whole; the theme sets the colour of the grid.
AXIS_OPTIONS = {"stacked": True, "border": {"width": 0}, "ticks": {"color": "#9ca3af", "precision": 0}}
CHART_OPTIONS = {
    "animation": False,
    "maintainAspectRatio": False,
    "maxBarThickness": 28,
    "plugins": {"legend": {"display": False}},
}
COUNT_AXIS, NAME_AXIS = AXIS_OPTIONS | {"beginAtZero": True}, AXIS_OPTIONS | {"grid": {"display": False}}
HORIZONTAL_OPTIONS = json.dumps(CHART_OPTIONS | {"indexAxis": "y", "scales": {"x": COUNT_AXIS, "y": NAME_AXIS}})
VERTICAL_OPTIONS = json.dumps(CHART_OPTIONS | {"scales": {"x": NAME_AXIS, "y": COUNT_AXIS}})


class Section(NamedTuple):
    """A chart as the theme's bar component takes it, and its counts as the theme's table component takes them."""

    title: str
    chart: str
    options: str
    table: dict[str, list]


def dashboard_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """Show the page to users who may view insights."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    namespace_form = build_namespace_form(request, model_admin, namespace)
    statistics = fetch_detailed_statistics(namespace and namespace.pk)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Insights at a glance",
        "namespace_form": namespace_form,
        "media": forms.Media(namespace_form.Media),
        "chosen": namespace,
        "cards": build_cards(statistics),
        "total": statistics["total"],
        "levels": [
            (level, span.title, build_insight_list_url(namespace, quality=level))
            for level, span in LEVEL_RANGES.items()
        ],
        "types": build_level_section("type", "insight_type", statistics["by_type"], namespace, replace_underscores),
        "qualities": build_quality_section(statistics["by_tenth"], namespace),
        "projects": build_level_section("project", "project", statistics["top_projects"], namespace),
        "project_note": build_project_note(statistics),
    }
    return TemplateResponse(request, "admin/insights/insight/dashboard.html", context)


def build_cards(statistics: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Insights", format_number(statistics["total"])),
        ("Projects", format_number(statistics["projects"])),
        ("Average quality", format_average(statistics["average_quality"])),
        ("Average confidence", format_average(statistics["average_confidence"])),
        ("Uses", format_number(statistics["total_usage"])),
        ("Never used", format_number(statistics["unused"])),
    ]


def format_average(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def build_insight_list_url(namespace: Namespace | None, **filters: str) -> str:
    """Return the address of the list of insights with these filters."""
    values = ({"namespace": namespace.pk} if namespace else {}) | filters
    return f"{reverse('admin:insights_insight_changelist')}?{urlencode(values)}"


# By type and by project


def build_level_section(
    title: str,
    parameter: str,
    rows: Sequence[dict[str, Any]],
    namespace: Namespace | None,
    format_name: Callable[[str], str] = str,
) -> Section:
    """Return a bar for each row, divided by quality level; `parameter` is the list's filter by the row's name."""
    shown = [row | {"shown": format_name(row["name"])} for row in rows]
    chart = {
        "labels": [truncate(row["shown"], MAX_BAR_LABEL_LENGTH) for row in shown],
        "datasets": [
            {"label": level, "data": [row[level] for row in shown], "backgroundColor": f"var(--quality-{level})"}
            for level in LEVEL_RANGES
        ],
    }
    table = {
        "headers": [title, *LEVEL_RANGES, "all"],
        "rows": [build_level_row(row, parameter, namespace) for row in shown],
    }
    return Section(f"By {title}", json.dumps(chart), HORIZONTAL_OPTIONS, table)


def build_level_row(row: dict[str, Any], parameter: str, namespace: Namespace | None) -> list[SafeString]:
    filters = {parameter: row["name"]}
    by_level = ", ".join(f"{level} {format_number(row[level])}" for level in LEVEL_RANGES)
    summary = f"{row['shown']}: {format_number(row['total'])} ({by_level})"
    name = format_html(
        LINK_TEMPLATE,
        build_insight_list_url(namespace, **filters),
        summary,
        truncate(row["shown"], MAX_TABLE_NAME_LENGTH),
    )
    counts = [
        link_count(f"{row['shown']}, {level}", row[level], build_insight_list_url(namespace, **filters, quality=level))
        for level in LEVEL_RANGES
    ]
    return [name, *counts, format_html("<b>{}</b>", format_number(row["total"]))]


def link_count(name: str, count: int, url: str) -> SafeString:
    number = format_number(count)
    return format_html(LINK_TEMPLATE, url, f"{name}: {number}", number) if count else format_html("{}", number)


def build_project_note(statistics: dict[str, Any]) -> str:
    """Return what the chart of projects does not show."""
    more, without = statistics["projects"] - len(statistics["top_projects"]), statistics["without_project"]
    notes = ["An insight counts for each of its projects."]
    if more:
        notes.append(f"{format_number(more)} more {'project has' if more == 1 else 'projects have'} fewer.")
    if without:
        notes.append(f"{format_number(without)} {'insight names' if without == 1 else 'insights name'} none.")
    return " ".join(notes)


# By quality


def build_quality_section(by_tenth: dict[str, int], namespace: Namespace | None) -> Section:
    """Return a bar for each tenth of the quality, in the colour of its level."""
    counts = {tenth: by_tenth.get(tenth, 0) for tenth in TENTH_RANGES}
    levels = {tenth: get_quality_level(span.start / TENTHS) for tenth, span in TENTH_RANGES.items()}
    chart = {
        "labels": [span.title for span in TENTH_RANGES.values()],
        "datasets": [
            {
                "label": "insights",
                "data": list(counts.values()),
                "backgroundColor": [f"var(--quality-{levels[tenth]})" for tenth in counts],
            }
        ],
    }
    rows = [
        [
            TENTH_RANGES[tenth].title,
            link_count(f"quality {TENTH_RANGES[tenth].title}", count, build_insight_list_url(namespace, quality=tenth)),
        ]
        for tenth, count in counts.items()
    ]
    table = {"headers": ["quality", "insights"], "rows": rows}
    return Section("By quality", json.dumps(chart), VERTICAL_OPTIONS, table)
