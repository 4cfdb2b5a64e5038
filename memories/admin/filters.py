"""The filters of the memories list. They only render their field, with choices that need no query of the table.

`read_selection` reads their values, because a search applies the same conditions inside its own statement.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import DropdownFilter, MultipleDropdownFilter, TextFilter
from unfold.contrib.filters.forms import AutocompleteDropdownForm, RangeDateForm

from memories.admin.parameters import ALL_STATES, LABEL_PARAMETERS, parse_namespace_id
from memories.cleanup.conditions import FINDINGS
from memories.memory_types import Importance, MemoryType
from memories.models import LABEL_FIELDS, Memory
from memories.search.selection import EMBEDDED, REFUSED, WAITING
from memories.states import State
from sessions_app.models import Namespace


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
                label="Namespace",
                choices=(),
                field=Memory._meta.get_field("namespace"),
                model_admin=self.model_admin,
                data={self.parameter_name: self._get_valid_value()},
            )
        }

    def describe_value(self, name: str, value: str) -> str:
        """Return the namespace's name."""
        found = Namespace.objects.filter(pk=self._get_valid_value() or 0).values_list("name", flat=True).first()
        return found or value

    def _get_valid_value(self) -> int | None:
        """Return the value, or None if it is no id: the field queries the database by it."""
        try:
            return parse_namespace_id(self.value())
        except ValueError:
            return None


class TypeFilter(DisplayOnlyFilter, MultipleDropdownFilter):
    title, parameter_name = "type", "memory_type"
    all_option = None

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Memory], model_admin: ModelAdmin
    ) -> None:
        super().__init__(request, params, model, model_admin)
        params.pop("not_memory_type", None)

    def expected_parameters(self) -> list[str]:
        return ["memory_type", "not_memory_type"]

    def describe_title(self, name: str) -> str:
        return "not type" if name.startswith("not_") else "type"

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


class LabelFilter(DisplayOnlyFilter, TextFilter):
    """A label: a part of its value is typed, with suggestions. Links name whole values, and values to exclude."""

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Memory], model_admin: ModelAdmin
    ) -> None:
        self.request = request
        super().__init__(request, params, model, model_admin)
        self.used_parameters |= {name: params.pop(name) for name in self.expected_parameters() if name in params}

    def expected_parameters(self) -> list[str]:
        return [self.parameter_name, f"{self.parameter_name}_like", f"not_{self.parameter_name}"]

    def describe_title(self, name: str) -> str:
        words = {f"{self.parameter_name}_like": "{} contains", f"not_{self.parameter_name}": "not {}"}
        return words.get(name, "{}").format(self.title)

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        name = f"{self.parameter_name}_like"
        form = self.form_class(
            name=name, label=f"{self.title} contains".capitalize(), data={name: self.request.GET.get(name)}
        )
        form.fields[name].widget.attrs |= {
            "list": f"{name}-values",
            "autocomplete": "off",
            "hx-get": f"suggestions/?field={LABEL_PARAMETERS[self.parameter_name]}&parameter={name}",
            "hx-trigger": "input changed delay:200ms",
            "hx-target": f"#{name}-values",
            "hx-include": "#filter-form [name=namespace]",
            "hx-swap": "innerHTML",
        }
        yield {"form": form, "datalist": f"{name}-values"}

    template = "admin/memories/memory/label_filter.html"


class TypedFilter(DisplayOnlyFilter, TextFilter):
    """A value that is typed whole."""


class FacetsFilter(DisplayOnlyFilter):
    """The values of labels with their counts, loaded when the filters are opened."""

    title, parameter_name = "facets", "facets"
    template = "admin/memories/memory/facets_filter.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Memory], model_admin: ModelAdmin
    ) -> None:
        self.query = request.META.get("QUERY_STRING", "")
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return ()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str]:
        return []

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        yield {"url": f"facets/?{self.query}"}


#: Rules of the clean-up's page, as it links to the list.
CLEAN_UP_FILTERS = {
    "unused_days": "days without use",
    "max_importance": "importance, at most",
    "used_less_than": "used less often than",
    "min_characters": "characters, at least",
    "max_characters": "characters, at most",
}
FINDING_WORDS = {
    "duplicate": "near duplicates",
    "secret": "look like secrets",
    "lost_insight": "insights without their record",
    "lost_chunk": "chunks without a document",
    "lost_successor": "superseded by nothing",
}
YES_OR_NO = (("1", "yes"), ("0", "no"))


def make_label_filter(name: str, title: str) -> type[LabelFilter]:
    return type(f"{name}_filter", (LabelFilter,), {"title": title, "parameter_name": name})


def make_typed_filter(name: str, title: str) -> type[TypedFilter]:
    return type(f"{name}_filter", (TypedFilter,), {"title": title, "parameter_name": name})


def make_choice_filter(name: str, title: str, choices: tuple = YES_OR_NO) -> type[DropdownFilter]:
    def lookups(self: Any, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return choices

    members = {"title": title, "parameter_name": name, "lookups": lookups}
    return type(f"{name}_filter", (DisplayOnlyFilter, DropdownFilter), members)


LIST_FILTERS = (
    FacetsFilter,
    NamespaceFilter,
    TypeFilter,
    *(
        make_label_filter(name, title)
        for name, title in {"user_id": "user", "tag": "tag", "source_system": "source"}.items()
    ),
    ImportanceFilter,
    ImportantFilter,
    StateFilter,
    CreatedFilter,
    make_choice_filter("expires_within", "expires within", (("1", "a day"), ("7", "a week"), ("30", "30 days"))),
    make_choice_filter("used", "ever recalled"),
    make_choice_filter("related", "has relationships"),
    make_choice_filter("has_summary", "has a summary"),
    make_choice_filter(
        "max_confidence", "confidence, at most", tuple((each, each) for each in ("0.25", "0.5", "0.75"))
    ),
    make_typed_filter("metadata", "metadata (name=value)"),
    make_choice_filter("states", "state", (*State.choices[1:], (ALL_STATES, "All"))),
    make_choice_filter("finding", "found by the clean-up", tuple((name, FINDING_WORDS[name]) for name in FINDINGS)),
    *(make_typed_filter(name, title) for name, title in CLEAN_UP_FILTERS.items()),
    *(
        make_label_filter(name, str(Memory._meta.get_field(name).verbose_name))
        for name in (*LABEL_FIELDS[1:], "entity_system")
    ),
    make_typed_filter("key_prefix", "key begins with"),
    make_typed_filter("key", "key"),
    make_typed_filter("entity_type", "entity type"),
    make_typed_filter("entity_id", "entity id"),
)
#: Parameters that are no filter of their own: how to search, and which kind of rows.
PLAIN_PARAMETERS = ("mode", "after", "chunks")
LIST_PARAMETERS = frozenset(
    {
        *(each.parameter_name for each in LIST_FILTERS),
        *(f"{name}_like" for name in LABEL_PARAMETERS),
        *(f"not_{name}" for name in LABEL_PARAMETERS),
        *("created_to", *PLAIN_PARAMETERS),
    }
)
