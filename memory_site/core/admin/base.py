"""What the pages of the admin console share: lists that stay fast on large tables, the side bar, readable JSON."""

from functools import cached_property
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ObjectDoesNotExist
from django.core.paginator import Paginator
from django.db import IntegrityError, connections
from django.db.models import AutoField, Field, QuerySet
from django.forms import Field as FormField
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from memory_site.core.admin.formatting import format_datetime, format_number

#: Rows are counted, and can be paged through, up to here: 0.7 ms, where counting a million takes 30 ms and more.
MAX_COUNTED_ROWS = 10_000
#: The planner's own idea of how many rows a table has, kept by ANALYZE.
ESTIMATE_ROWS_SQL = "SELECT reltuples FROM pg_class WHERE oid = %s::regclass"
MAX_BIGINT = 2**63 - 1
CONCURRENT_CHANGE = "Somebody else was faster: this could not be kept. Please look again."


class CappedPaginator(Paginator):
    """Pages of at most COUNTED_AT_MOST rows, so that neither counting nor skipping ever reads a large table."""

    template_name = "admin/capped_pagination.html"
    #: Whether the rows are the whole table, whose size the database can estimate.
    whole = False

    @cached_property
    def capped_count(self) -> int:
        return self.object_list.order_by().values("pk")[: MAX_COUNTED_ROWS + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.capped_count, MAX_COUNTED_ROWS)

    @property
    def display_count(self) -> str:
        """How many rows there are: exactly, by estimate, or only that there are more than were counted."""
        if self.capped_count <= MAX_COUNTED_ROWS:
            return format_number(self.capped_count)
        return f"about {format_number(self._estimate_rows())}" if self.whole else f"{format_number(MAX_COUNTED_ROWS)}+"

    def _estimate_rows(self) -> int:
        with connections[self.object_list.db].cursor() as cursor:
            cursor.execute(ESTIMATE_ROWS_SQL, [self.object_list.model._meta.db_table])
            rows = max(int(cursor.fetchone()[0]), self.capped_count)
        return round(rows, 3 - len(str(rows)))


class CappedChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """The page's head would tell a number of results, and a capped one is not theirs: its foot tells it right."""
        super().get_results(request)
        self.full_result_count = self.result_count


class AnonymousLogObject:
    """A row that goes by its id alone."""

    def __init__(self, obj: Any) -> None:
        self.pk, self._meta = obj.pk, obj._meta

    def __str__(self) -> str:
        return str(self.pk)


class IntegerKeyChoiceField(ModelChoiceField):
    def prepare_value(self, value: Any) -> Any:
        """What can be shown: its widget asks the database for the name, which refuses what is no number of a row."""
        value = super().prepare_value(value)
        text = "" if value is None else str(value)
        return value if text.isascii() and text.isdigit() and int(text[:20]) <= MAX_BIGINT else None


class BaseAdmin(ModelAdmin):
    """A model of any size: nothing on its pages reads the whole table."""

    #: Whether a row's text is what somebody said or is.
    hide_content_in_log = False
    list_per_page = 50
    list_filter_submit = True
    list_disable_select_all = True
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    compressed_fields = True
    warn_unsaved_form = True
    paginator = CappedPaginator

    def formfield_for_foreignkey(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> FormField:
        if isinstance(db_field.target_field, AutoField):
            kwargs["form_class"] = IntegerKeyChoiceField
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (IntegrityError, ObjectDoesNotExist):  # between the form's check and the writing
            messages.error(request, CONCURRENT_CHANGE)
            return HttpResponseRedirect(request.get_full_path())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedChangeList

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_addition(request, self.log_object(obj), message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        return super().log_change(request, self.log_object(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return super().log_deletions(request, [self.log_object(obj) for obj in queryset])

    def log_object(self, obj: Any) -> Any:
        """What the console's log calls a row. It outlives the row, so what people said does not belong there."""
        return AnonymousLogObject(obj) if self.hide_content_in_log else obj

    def get_paginator(self, request: HttpRequest, queryset: QuerySet, *args: Any, **kwargs: Any) -> Paginator:
        paginator = super().get_paginator(request, queryset, *args, **kwargs)
        paginator.whole = queryset.query.where == self.get_queryset(request).query.where
        return paginator


class ReadOnlyAdmin(BaseAdmin):
    """Rows that are made elsewhere, and only looked at here."""

    sortable_by = ()
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NoLookupAdmin(BaseAdmin):
    """What the lists of this app share: their own conditions, and no other that could read every row."""

    hide_content_in_log = True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in {each.parameter_name for each in self.list_filter}


class LinkAdmin(NoLookupAdmin):
    """Rows that join two others, which stay when a row goes."""

    sortable_by = ()

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        if change:
            obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        shown = [str(link) for link in objs]
        return shown, {str(self.model._meta.verbose_name_plural): len(shown)}, set(), []

    @display(description="made")
    def created(self, link: Any) -> SafeString | None:
        return format_datetime(link.created_at)

    @display(description="changed")
    def updated(self, link: Any) -> SafeString | None:
        return format_datetime(link.updated_at)
