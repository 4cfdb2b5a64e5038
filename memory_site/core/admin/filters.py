"""Search conditions that several pages of the console share."""

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import TextFilter


def build_like_pattern(text: str) -> str:
    """A pattern for LIKE that finds the text wherever it stands."""
    return "%" + text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"


class ExactFilter(TextFilter):
    """One exact value: a part of it could be found only by reading every row."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:  # which no row can hold
            return queryset.none()
        return queryset.filter(**{self.parameter_name: text}) if text else queryset


class UserFilter(ExactFilter):
    title, parameter_name = "user", "user_id"
