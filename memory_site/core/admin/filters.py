"""Filters that several pages of the console use."""

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import TextFilter


class ExactFilter(TextFilter):
    """Filter by one exact value; a search for parts would read every row."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:  # which no row can hold
            return queryset.none()
        return queryset.filter(**{self.parameter_name: text}) if text else queryset


class UserFilter(ExactFilter):
    title, parameter_name = "user", "user_id"
