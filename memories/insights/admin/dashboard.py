"""The console's page of insights at a glance: by type, quality and project, each bar a way to the list behind it."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from memories.insights.drawing import Bar, BarPart, draw_columns, draw_horizontal_bars
from memories.insights.glance import fetch_dashboard_statistics, map_counts_by_level
from memories.insights.quality_levels import LEVEL_RANGES, TENTH_RANGES, TENTHS, get_quality_level
from memory_site.core.admin.formatting import format_number
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import Namespace


def dashboard_view(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The page itself, for those who may look at insights."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = get_selected_namespace(request)
    chooser, found = (
        build_namespace_form(request, model_admin, namespace),
        fetch_dashboard_statistics(namespace and namespace.pk),
    )
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Insights at a glance",
        "chooser": chooser,
        "media": forms.Media(chooser.Media),
        "chosen": namespace,
        "cards": build_cards(found),
        "total": found["total"],
        "levels": [(level, band.title) for level, band in LEVEL_RANGES.items()],
        "types": draw_bars_by_level("Insights by type", "insight_type", found["types"], namespace),
        "qualities": draw_quality_histogram(found["tenths"], namespace),
        "projects": found["top"] and draw_bars_by_level("Insights by project", "project", found["top"], namespace),
        "remark": build_remark(found),
    }
    return TemplateResponse(request, "admin/insights/insight/glance.html", context)


def build_cards(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Insights", format_number(found["total"])),
        ("Projects", format_number(found["projects"])),
        ("Average quality", format_average(found["quality"])),
        ("Average confidence", format_average(found["confidence"])),
        ("Uses", format_number(found["uses"])),
        ("Never used", format_number(found["unused"])),
    ]


def format_average(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def build_insight_list_url(namespace: Namespace | None, **narrowed: str) -> str:
    """The address of the list of exactly these."""
    values = ({"namespace": namespace.pk} if namespace else {}) | narrowed
    return f"{reverse('admin:insights_insight_changelist')}?{urlencode(values)}"


def draw_bars_by_level(
    title: str, parameter: str, rows: list[dict[str, Any]], namespace: Namespace | None
) -> SafeString:
    """A bar for each row, in parts by quality."""
    return draw_horizontal_bars(title, [build_bar(parameter, row, namespace) for row in rows])


def build_bar(parameter: str, row: dict[str, Any], namespace: Namespace | None) -> Bar:
    mine = {parameter: row["name"]}
    parts = [
        BarPart(level, level, count, build_insight_list_url(namespace, **mine, quality=level))
        for level, count in map_counts_by_level(row).items()
    ]
    shown = row["name"].replace("_", " ") if parameter == "insight_type" else row["name"]
    return Bar(shown, build_insight_list_url(namespace, **mine), parts)


def draw_quality_histogram(tenths: dict[str, int], namespace: Namespace | None) -> SafeString:
    parts = [
        BarPart(
            f"quality {band.title}",
            get_quality_level(band.start / TENTHS),
            tenths.get(n, 0),
            build_insight_list_url(namespace, quality=n),
        )
        for n, band in TENTH_RANGES.items()
    ]
    return draw_columns("Insights by quality", parts, [f"{n / TENTHS:g}" for n in range(TENTHS + 1)])


def build_remark(found: dict[str, Any]) -> str:
    """What the bars of projects do not show."""
    more, nameless = found["projects"] - len(found["top"]), found["nameless"]
    notes = ["An insight counts for each of its projects."]
    notes += [f"{format_number(more)} more {'project has' if more == 1 else 'projects have'} fewer."] if more else []
    notes += (
        [f"{format_number(nameless)} {'insight names' if nameless == 1 else 'insights name'} none."] if nameless else []
    )
    return " ".join(notes)
