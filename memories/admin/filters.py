"""The filters of the memories list. Their choices need no query of the table.

The filters only render their field. `read_selection` reads their values, because the search box needs them too: a search
applies the same conditions inside its own statement.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from pydantic import ValidationError
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter, MultipleDropdownFilter, TextFilter
from unfold.contrib.filters.forms import AutocompleteDropdownForm, RangeDateForm

from memories.memory_types import Importance, MemoryType
from memories.models import LABEL_FIELDS, Memory
from memories.search.filters import Filters
from memories.search.selection import (
    EMBEDDED,
    EMBEDDING_FILTERS,
    REFUSED,
    WAITING,
    Selection,
    describe_validation_error,
)

MAX_ID = 2**63 - 1
TEXT_PARAMETERS = (*LABEL_FIELDS, "source_system", "entity_system")


def read_selection(parameters: QueryDict) -> Selection:
    """Read the list's conditions from a query string. Raises ValueError for an invalid value, with a text to display."""
    given = {name: value for name in TEXT_PARAMETERS if (value := parameters.get(name, "").strip())}
    given |= {name: read(value) for name, (key, read) in PARAMETER_PARSERS.items() if (value := parameters.get(key))}
    if kinds := [kind for kind in parameters.getlist("memory_type") if kind]:
        given["memory_types"] = [parse_type(kind) for kind in kinds]
    try:
        filters = Filters.model_validate(given)
    except ValidationError as error:
        raise ValueError(describe_validation_error(error)) from error
    embedding = parameters.get("embedding")
    return Selection(
        parse_namespace_id(parameters.get("namespace")),
        filters,
        embedding=embedding if embedding in EMBEDDING_FILTERS else None,
    )


def parse_namespace_id(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_ID):
        raise ValueError("namespace: there is no such namespace")
    return int(text[:20])


def parse_time(text: str, *, days: int = 0) -> datetime:
    """Return a moment written as YYYY-MM-DDTHH:MM, in UTC unless it says otherwise; for a day its midnight UTC, or that
    of the day `days` later. Links from charts name the hour, the form of the filter the day."""
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment if "T" in text else moment + timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise ValueError("created: must be a day, written as 2026-01-31") from error


def parse_type(text: str) -> MemoryType:
    try:
        return MemoryType(text)
    except ValueError as error:
        raise ValueError("type: there is no such type") from error


def parse_importance(text: str) -> int:
    if text not in {str(each.value) for each in Importance}:
        raise ValueError("importance: must lie between 1 and 5")
    return int(text)


# Fields of Filters whose query parameter has another name or format: the parameter, and its parser.
PARAMETER_PARSERS = {
    "tags": ("tag", lambda text: [text]),
    "min_importance": ("min_importance", parse_importance),
    "important": ("important", lambda text: text == "1"),
    "created_after": ("created_from", parse_time),
    "created_before": ("created_to", lambda text: parse_time(text, days=1)),
}


class DisplayOnlyFilter(SimpleListFilter):
    """A filter whose condition `read_selection` applies."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset


class NamespaceFilter(DisplayOnlyFilter):
    """A namespace, with autocompletion: there may be too many for a menu."""

    title, parameter_name = "namespace", "namespace"
    template = "unfold/filters/filters_field.html"
    form_class = AutocompleteDropdownForm

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Memory], model_admin: ModelAdmin
    ) -> None:
        self.request, self.model_admin = request, model_admin
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        yield {
            "form": self.form_class(
                request=self.request,
                name=self.parameter_name,
                label="By namespace",
                choices=(),
                field=Memory._meta.get_field("namespace"),
                model_admin=self.model_admin,
                data={self.parameter_name: self._get_valid_value()},
            )
        }

    def _get_valid_value(self) -> int | None:
        """Return the value, or None if it is no id: the field queries the database by it."""
        try:
            return parse_namespace_id(self.value())
        except ValueError:
            return None


class TypeFilter(DisplayOnlyFilter, MultipleDropdownFilter):
    title, parameter_name = "type", "memory_type"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(kind.value, kind.value.replace("_", " ")) for kind in MemoryType]


class ImportanceFilter(DisplayOnlyFilter, DropdownFilter):
    title, parameter_name = "importance, at least", "min_importance"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [(str(each.value), f"{each.value} {each.name}") for each in Importance]


class ImportantFilter(DisplayOnlyFilter, DropdownFilter):
    """`metadata.important`, set by API callers; there is a partial index for it."""

    title, parameter_name = "important mark", "important"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "marked important"), ("0", "not marked")]


class StateFilter(DisplayOnlyFilter, DropdownFilter):
    title, parameter_name = "embedding", "embedding"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [
            (EMBEDDED, "embedded"),
            (WAITING, "waiting to be embedded"),
            (REFUSED, "refused by the embedder"),
        ]


class CreatedFilter(DisplayOnlyFilter):
    """A range of whole days, including the last."""

    title, parameter_name = "created", "created_from"
    template = "unfold/filters/filters_date_range.html"
    form_class = RangeDateForm

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Memory], model_admin: ModelAdmin
    ) -> None:
        self.request = request
        super().__init__(request, params, model, model_admin)
        self.used_parameters |= {name: params.pop(name) for name in self.expected_parameters() if name in params}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return ()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str]:
        return ["created_from", "created_to"]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        values = {name: self.request.GET.get(name) for name in self.expected_parameters()}
        yield {
            "request": self.request,
            "parameter_name": "created",
            "form": self.form_class(name="created", data=values),
        }


def make_exact_filter(name: str, title: str) -> type[TextFilter]:
    """Return a filter by an exact value. A part of a value could be found only by reading every row."""
    return type(f"{name}_filter", (DisplayOnlyFilter, TextFilter), {"title": title, "parameter_name": name})


LIST_FILTERS = (
    NamespaceFilter,
    TypeFilter,
    *(
        make_exact_filter(name, title)
        for name, title in {"user_id": "user", "tag": "tag", "source_system": "source"}.items()
    ),
    ImportanceFilter,
    ImportantFilter,
    StateFilter,
    CreatedFilter,
    *(
        make_exact_filter(name, Memory._meta.get_field(name).verbose_name)
        for name in (*LABEL_FIELDS[1:], "entity_system")
    ),
)
LIST_PARAMETERS = frozenset({*(each.parameter_name for each in LIST_FILTERS), "created_to"})
