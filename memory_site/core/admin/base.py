"""Base classes of the admin console: lists that stay fast on large tables, read-only pages, log entries."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import IntegrityError
from django.db.models import DateTimeField, Field, IntegerField, QuerySet
from django.forms import Field as FormField
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from memory_site.core.admin.formatting import format_datetime, format_number
from memory_site.core.lists.chips import build_chips
from memory_site.core.lists.columns import choose_columns, describe_columns, list_known_columns
from memory_site.core.lists.saved import build_saved_urls, describe_filters, normalize_query
from memory_site.core.lists.sorting import SORT_NOTE, bound_sort, put_nulls_last

#: Lists count and page through at most so many rows: 0.7 ms, against 30 ms and more to count a million.
MAX_COUNTED_ROWS = 10_000
MAX_BIGINT = 2**63 - 1
NOTHING_SELECTED = "Nothing was done: these rows do not exist."
CONCURRENT_CHANGE = "This record was changed by someone else in the meantime, so nothing was saved. Please reload it."


class CappedPaginator(Paginator):
    """Pages of at most MAX_COUNTED_ROWS rows, so that neither counting nor skipping ever reads a large table."""

    template_name = "admin/capped_pagination.html"
    #: Whether the list has no filter: then the database can estimate its size.
    is_unfiltered = False

    @cached_property
    def capped_count(self) -> int:
        return self.object_list.order_by().values("pk")[: MAX_COUNTED_ROWS + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.capped_count, MAX_COUNTED_ROWS)

    @property
    def display_count(self) -> str:
        """The number of rows: exact, estimated, or "more than MAX_COUNTED_ROWS"."""
        if self.capped_count <= MAX_COUNTED_ROWS:
            return format_number(self.capped_count)
        return (
            f"about {format_number(self._estimate_rows())}"
            if self.is_unfiltered
            else f"{format_number(MAX_COUNTED_ROWS)}+"
        )

    def _estimate_rows(self) -> int:
        """Return the planner's estimate, from the statistics that ANALYZE updates."""
        plan = json.loads(self.object_list.order_by().values("pk").explain(format="json"))
        rows = max(int(plan[0]["Plan"]["Plan Rows"]), self.capped_count)
        return round(rows, 3 - len(str(rows)))


class CappedChangeList(ChangeList):
    """A list that can be ordered by any column; `sort_note` is set when not all rows were sorted."""

    sort_note = ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list:
        ordering = super().get_ordering(request, queryset)
        return [ordering[0] if self._is_usual_order() else put_nulls_last(ordering[0]), *ordering[1:]]

    def get_results(self, request: HttpRequest) -> None:
        """Hide the capped number of results from the page's head; the paginator shows the right one."""
        self._bound_sort()
        super().get_results(request)
        self.full_result_count = self.result_count

    def _is_usual_order(self) -> bool:
        """Whether no column was chosen, or one that has an index."""
        chosen = self.get_ordering_field_columns() if self.params.get(ORDER_VAR) else {}
        names = [self.list_display[index] for index in chosen if 0 <= index < len(self.list_display)]
        return all(name in self.model_admin.indexed_columns for name in names)

    def _bound_sort(self) -> None:
        usual = next(iter(self.model_admin.ordering or ()), None)
        if isinstance(usual, str) and not self._is_usual_order():
            self.queryset, is_cut = bound_sort(self.queryset, usual)
            self.sort_note = SORT_NOTE if is_cut else ""


class AnonymousLogObject:
    """A log entry's row that shows only its id."""

    def __init__(self, obj: Any) -> None:
        self.pk, self._meta = obj.pk, obj._meta

    def __str__(self) -> str:
        return str(self.pk)


class IntegerKeyChoiceField(ModelChoiceField):
    def prepare_value(self, value: Any) -> Any:
        """Return None for what is no integer key: the widget would query the database with it, which fails."""
        value = super().prepare_value(value)
        text = "" if value is None else str(value)
        return value if text.isascii() and text.isdigit() and int(text[:20]) <= MAX_BIGINT else None


def parse_time(text: str) -> datetime | None:
    """Return the time that a text says in ISO 8601, or None if it says none."""
    try:
        return parse_datetime(text)
    except ValueError:
        return None


class BaseAdmin(ModelAdmin):
    """Pages of a model with any number of rows: nothing reads the whole table."""

    #: Whether a row's text is personal content, so that log entries show its id instead.
    hide_content_in_log = False
    #: What an empty list says: what would be here, and how it gets here.
    empty_text = ""
    list_per_page = 50
    list_filter_submit = True
    list_disable_select_all = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    compressed_fields = True
    warn_unsaved_form = True
    paginator = CappedPaginator
    change_list_template = "admin/lists/change_list.html"
    #: Columns that a person may add to those of `list_display`.
    optional_columns: tuple[str, ...] = ()
    #: Columns by which all rows are sorted, because there is an index.
    indexed_columns: tuple[str, ...] = ()

    def get_urls(self) -> list:
        return [*build_saved_urls(self), *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        return choose_columns(self, request)

    def build_tabs(self, cl: ChangeList) -> list[dict[str, Any]]:
        """Return the views of the list: title, url and is_active of each."""
        return []

    def changelist_view(self, request: HttpRequest, extra_context: dict | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and "cl" in (response.context_data or {}):
            response.context_data |= self.build_list_context(request, response.context_data["cl"])
        return response

    def build_list_context(self, request: HttpRequest, cl: ChangeList) -> dict[str, Any]:
        """Return what the list's page shows besides Django's: tabs, saved filters, chips, columns."""
        return {
            "list_tabs": self.build_tabs(cl),
            "saved_filters": describe_filters(self, request),
            "chips": build_chips(cl, request.GET),
            "list_columns": describe_columns(self, request),
            "first_column": list_known_columns(self)[0] if list_known_columns(self) else "",
            "list_query": normalize_query(request.META.get("QUERY_STRING", "")),
        }

    def formfield_for_foreignkey(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> FormField:
        if isinstance(db_field.target_field, IntegerField):
            kwargs["form_class"] = IntegerKeyChoiceField
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Parse times of the address: their widgets take no text."""
        given = super().get_changeform_initial_data(request)
        times = {field.name for field in self.model._meta.get_fields() if isinstance(field, DateTimeField)}
        return {name: parse_time(value) if name in times else value for name, value in given.items()}

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (IntegrityError, ObjectDoesNotExist):  # changed between the form's validation and its saving
            messages.error(request, CONCURRENT_CHANGE)
            return HttpResponseRedirect(request.get_full_path())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedChangeList

    def response_action(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        try:
            return super().response_action(request, queryset)
        except ValidationError:  # an id that is none
            messages.error(request, NOTHING_SELECTED)
            return None

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_addition(request, self.log_object(obj), message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_change(request, self.log_object(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return super().log_deletions(request, [self.log_object(obj) for obj in queryset])

    def log_object(self, obj: Any) -> Any:
        """Return the object that the admin log names. The log outlives the row, so it may not hold personal content."""
        return AnonymousLogObject(obj) if self.hide_content_in_log else obj

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, *args: Any, **kwargs: Any) -> Paginator:
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        paginator.is_unfiltered = queryset.query.where == self.get_queryset(request).query.where
        return paginator


class ReadOnlyAdmin(BaseAdmin):
    """Pages of rows that the console only shows."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NoLookupAdmin(BaseAdmin):
    """Lists that accept only their own filters: any other lookup could read every row."""

    hide_content_in_log = True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {each.parameter_name for each in self.list_filter}


class LinkAdmin(NoLookupAdmin):
    """Pages of links between two rows; deleting a link keeps both."""

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        if change:
            obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        shown = [str(link) for link in objs]
        return shown, {str(self.model._meta.verbose_name_plural): len(shown)}, set(), []

    @display(description="created", ordering="created_at")
    def created(self, link: Any) -> SafeString | None:
        return format_datetime(link.created_at)

    @display(description="changed", ordering="updated_at")
    def updated(self, link: Any) -> SafeString | None:
        return format_datetime(link.updated_at)
