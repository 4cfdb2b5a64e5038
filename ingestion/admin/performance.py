"""Admin pages of measurements: read and delete, no editing."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from ingestion.models import PerformanceMetric
from memory_site.core.admin.base import NoLookupAdmin
from memory_site.core.admin.filters import ExactFilter
from memory_site.core.admin.formatting import format_datetime, render_json, truncate
from sessions_app.admin.namespaces import NamespaceFilter

PERIODS = [("1", "the last day"), ("7", "the last 7 days"), ("30", "the last 30 days")]
MAX_SHOWN_FIGURES = 5


class ComponentFilter(ExactFilter):
    title, parameter_name = "component", "component"


class MetricTypeFilter(ExactFilter):
    title, parameter_name = "type", "metric_type"


class MeasuredFilter(DropdownFilter):
    title, parameter_name = "time", "days"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return PERIODS

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(PERIODS):
            return queryset
        return queryset.filter(timestamp__gte=Now() - timedelta(int(self.value())))


@admin.register(PerformanceMetric)
class PerformanceMetricAdmin(NoLookupAdmin):
    empty_text = "Adapters and workflows report measurements over the API."
    list_display = ("component", "namespace", "metric_type", "figures", "measured")
    list_display_links = ("component",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter, ComponentFilter, MetricTypeFilter, MeasuredFilter)
    ordering = ("-timestamp", "-id")
    compressed_fields = False
    fields = (("component", "metric_type", "namespace"), "measured", "metrics_shown")
    readonly_fields = tuple(flatten(fields))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="figures", empty_value="-")
    def figures(self, measurement: PerformanceMetric) -> str | None:
        return summarize(measurement.metrics) or None

    @display(description="measured", ordering="timestamp")
    def measured(self, measurement: PerformanceMetric) -> SafeString | None:
        return format_datetime(measurement.timestamp)

    @display(description="figures")
    def metrics_shown(self, measurement: PerformanceMetric) -> SafeString | str:
        return render_json(measurement.metrics)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        shown = [truncate(str(measurement), 120) for measurement in objs]
        return shown, {"measurements": len(shown)}, set(), []


def summarize(metrics: Any) -> str:
    """Return the first figures on one line: those that are neither nested nor null."""
    plain = metrics.items() if isinstance(metrics, dict) else ()
    figures = [f"{name} {value}" for name, value in plain if isinstance(value, str | int | float)]
    return truncate(", ".join(figures[:MAX_SHOWN_FIGURES]), 120)
