"""Forms of the console that validate with the schemas of the API."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from ninja import Schema
from pydantic import ValidationError
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter

from memory_site.core.admin.base import LinkAdmin
from memory_site.core.admin.filters import ExactFilter
from memory_site.core.admin.formatting import format_number, replace_underscores

#: Searches without an index look at so many of the newest rows.
MAX_SEARCHED_ROWS = 10_000
DUPLICATE_HTML = '{} <a href="{}" class="underline">Open it</a>'


def refuse_duplicate(form: forms.ModelForm, rows: QuerySet, message: str, field: str | None = None) -> None:
    """Add an error to a form if one of `rows` is not its own, with a link to that row. Call it before saving: the
    unique constraint itself would fail the whole request."""
    if duplicate := rows.exclude(pk=form.instance.pk).only("pk").first():
        page = f"admin:{duplicate._meta.app_label}_{duplicate._meta.model_name}_change"
        form.add_error(field, format_html(DUPLICATE_HTML, message, reverse(page, args=[duplicate.pk])))


class SchemaForm(forms.ModelForm):
    """A form whose new rows must be valid by `whole`, and changes of existing rows by `part`."""

    whole: type[Schema]
    part: type[Schema]
    #: The columns of a unique constraint, and the message for a violation.
    identity: tuple[str, ...] = ()
    taken = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                field.strip = False  # a caller's text may begin or end with a space

    def clean_metadata(self) -> dict[str, Any]:
        return {} if self.cleaned_data["metadata"] is None else self.cleaned_data["metadata"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        schema, names = (self.whole, cleaned) if self.instance._state.adding else (self.part, self.changed_data)
        given = {name: cleaned[name] for name in names if name in cleaned and name in schema.model_fields}
        if self.errors:
            return cleaned
        try:
            return cleaned | schema.model_validate(given).model_dump(exclude_unset=True)
        except ValidationError as error:
            self._add_schema_errors(error)
            return cleaned

    def _add_schema_errors(self, error: ValidationError) -> None:
        for each in error.errors():
            name = next((part for part in each["loc"] if part in self.fields), None)
            text = each["msg"].removeprefix("Value error, ")
            self.add_error(name, f"{text[:1].upper()}{text[1:]}.")

    def implied(self) -> dict[str, Any]:
        """Return the columns that are derived from those of the form."""
        return {}

    def validate_unique(self) -> None:
        """Check the unique constraint before saving, and link to the conflicting row."""
        if self.errors or set(self.identity).isdisjoint(self.changed_data):
            return
        same = {name: getattr(self.instance, name) for name in self.identity}
        refuse_duplicate(self, self._meta.model._base_manager.filter(**same), self.taken)

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude every field from the model's validation: the schemas and the check above do it."""
        return {field.name for field in self._meta.model._meta.fields}


class SchemaAdmin(LinkAdmin):
    """Pages that save like the API: of an existing row only the changed columns."""

    autocomplete_fields = ("namespace",)
    list_select_related = ("namespace",)
    ordering = ("-created_at", "-id")
    #: Of a row that is there: what cannot be changed, and what every change means besides.
    fixed: tuple[str, ...] = ()
    marks: dict[str, Any] = {"updated_at": Now()}
    add_fieldsets: tuple = ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> tuple:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *self.fixed) if obj else self.readonly_fields

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"searched": format_number(MAX_SEARCHED_ROWS)} | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: Any, form: SchemaForm, change: bool) -> None:
        """Insert, or update the changed columns. Raises ObjectDoesNotExist if the row was deleted."""
        if not change:
            for name, value in form.implied().items():
                setattr(obj, name, value)
            obj.save(force_insert=True)
        elif form.changed_data:
            changes = {name: form.cleaned_data[name] for name in form.changed_data} | form.implied() | self.marks
            if not self.model._base_manager.filter(pk=obj.pk).update(**changes):
                raise ObjectDoesNotExist


class ChoiceFilter(DropdownFilter):
    """Filter by one of `known`, pairs of value and name; any other value is ignored."""

    known: list[tuple[str, str]]

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return self.known

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() in dict(self.known) else queryset


def make_choice_filter(column: str, kinds: Iterable[str], title: str = "type") -> type[ChoiceFilter]:
    known = [(str(kind), replace_underscores(str(kind))) for kind in kinds]
    return type(f"{column}_filter", (ChoiceFilter,), {"title": title, "parameter_name": column, "known": known})


class ArrayContainsFilter(ExactFilter):
    """Filter by one exact value in an array column."""

    column: str

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        text = self.value() or ""
        if "\0" in text:  # which no row can hold
            return queryset.none()
        return queryset.filter(**{f"{self.column}__contains": [text]}) if text else queryset


def filter_newest(rows: QuerySet, condition: Q) -> QuerySet:
    """Filter the newest MAX_SEARCHED_ROWS of these rows by the condition."""
    return rows.filter(condition, pk__in=rows.order_by("-created_at", "-id").values("pk")[:MAX_SEARCHED_ROWS])
