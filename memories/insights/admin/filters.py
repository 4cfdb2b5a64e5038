"""Filters of the console's list of insights."""

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from memories.insights.models import InsightCollection, InsightType
from memories.insights.quality_levels import QUALITY_CHOICES, QUALITY_RANGES
from memories.insights.redaction import redact_project_name
from memory_site.core.admin.schema_forms import ArrayContainsFilter, ChoiceFilter, make_choice_filter
from sessions_app.admin.namespaces import NamespaceFilter


class ProjectFilter(ArrayContainsFilter):
    """An exact project name; the true name also finds a redacted one."""

    title, parameter_name, column = "project", "project", "projects"

    def value(self) -> str | None:
        text = super().value()
        return text and redact_project_name(text)


class UsageFilter(ChoiceFilter):
    title, parameter_name = "use", "use"
    known = [("never", "never used"), ("used", "used")]
    conditions = {"never": Q(usage_count=0), "used": Q(usage_count__gt=0)}

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(self.conditions.get(self.value(), Q()))


class QualityFilter(ChoiceFilter):
    title, parameter_name = "quality", "quality"
    known = QUALITY_CHOICES

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        span = QUALITY_RANGES.get(self.value())
        return queryset.filter(span.condition) if span else queryset


LIST_FILTERS = (
    NamespaceFilter,
    make_choice_filter("insight_type", InsightType.values),
    make_choice_filter("collection", InsightCollection.values, "collection"),
    ProjectFilter,
    QualityFilter,
    UsageFilter,
)
