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

from memories.insights.drawing import Bar, Part, lying, standing
from memories.insights.glance import by_level, figures
from memories.insights.quality_levels import LEVELS, TENTH, TENTHS, level_of
from memory_site.core.admin.formatting import grouped
from sessions_app.admin.shared import namespace_field
from sessions_app.admin.statistics import chosen
from sessions_app.models import Namespace


def glance(request: HttpRequest, model_admin: ModelAdmin) -> HttpResponse:
    """The page itself, for those who may look at insights."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    namespace = chosen(request)
    chooser, found = namespace_field(request, model_admin, namespace), figures(namespace and namespace.pk)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Insights at a glance",
        "chooser": chooser,
        "media": forms.Media(chooser.Media),
        "chosen": namespace,
        "cards": cards(found),
        "total": found["total"],
        "levels": [(level, band.title) for level, band in LEVELS.items()],
        "types": split("Insights by type", "insight_type", found["types"], namespace),
        "qualities": qualities(found["tenths"], namespace),
        "projects": found["top"] and split("Insights by project", "project", found["top"], namespace),
        "remark": remark(found),
    }
    return TemplateResponse(request, "admin/insights/insight/glance.html", context)


def cards(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Insights", grouped(found["total"])),
        ("Projects", grouped(found["projects"])),
        ("Average quality", average(found["quality"])),
        ("Average confidence", average(found["confidence"])),
        ("Uses", grouped(found["uses"])),
        ("Never used", grouped(found["unused"])),
    ]


def average(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def listed(namespace: Namespace | None, **narrowed: str) -> str:
    """The address of the list of exactly these."""
    values = ({"namespace": namespace.pk} if namespace else {}) | narrowed
    return f"{reverse('admin:insights_insight_changelist')}?{urlencode(values)}"


def split(title: str, parameter: str, rows: list[dict[str, Any]], namespace: Namespace | None) -> SafeString:
    """A bar for each row, in parts by quality."""
    return lying(title, [bar(parameter, row, namespace) for row in rows])


def bar(parameter: str, row: dict[str, Any], namespace: Namespace | None) -> Bar:
    mine = {parameter: row["name"]}
    parts = [
        Part(level, level, count, listed(namespace, **mine, quality=level)) for level, count in by_level(row).items()
    ]
    shown = row["name"].replace("_", " ") if parameter == "insight_type" else row["name"]
    return Bar(shown, listed(namespace, **mine), parts)


def qualities(tenths: dict[str, int], namespace: Namespace | None) -> SafeString:
    parts = [
        Part(f"quality {band.title}", level_of(band.start / TENTHS), tenths.get(n, 0), listed(namespace, quality=n))
        for n, band in TENTH.items()
    ]
    return standing("Insights by quality", parts, [f"{n / TENTHS:g}" for n in range(TENTHS + 1)])


def remark(found: dict[str, Any]) -> str:
    """What the bars of projects do not show."""
    more, nameless = found["projects"] - len(found["top"]), found["nameless"]
    notes = ["An insight counts for each of its projects."]
    notes += [f"{grouped(more)} more {'project has' if more == 1 else 'projects have'} fewer."] if more else []
    notes += [f"{grouped(nameless)} {'insight names' if nameless == 1 else 'insights name'} none."] if nameless else []
    return " ".join(notes)
