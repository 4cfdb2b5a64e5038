"""The active filters of a list as chips, each with the link that removes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import QueryDict
from django.utils.http import urlencode

from memory_site.core.admin.formatting import truncate

MAX_VALUE_LENGTH = 60


@dataclass(frozen=True)
class Chip:
    """title: of the filter; value: in words; url: the query string without it."""

    title: str
    value: str
    url: str


def build_chips(cl: ChangeList, parameters: QueryDict) -> list[Chip]:
    """Return a chip for each value of each filter of the list."""
    return [
        Chip(describe_title(spec, name), describe_value(spec, name, value), build_query_without(cl, name, value))
        for spec in cl.filter_specs
        for name in spec.expected_parameters()
        if name
        for value in parameters.getlist(name)
        if value.strip()
    ]


def describe_title(spec: Any, name: str) -> str:
    """Return the filter's title, for a filter of several parameters that of this one."""
    describe = getattr(spec, "describe_title", None)
    return str(spec.title) if describe is None else describe(name)


def describe_value(spec: Any, name: str, value: str) -> str:
    """Return the value as the filter's menu words it."""
    describe = getattr(spec, "describe_value", None)
    if describe is not None:
        return truncate(describe(name, value), MAX_VALUE_LENGTH)
    return truncate(
        next((str(label) for key, label in iter_choices(spec) if str(key) == value), value), MAX_VALUE_LENGTH
    )


def iter_choices(spec: Any) -> Iterator[tuple[Any, Any]]:
    for name in ("lookup_choices", "flatchoices"):
        choices = getattr(spec, name, None) or getattr(getattr(spec, "field", None), name, None)
        yield from choices or ()


def build_query_without(cl: ChangeList, name: str, value: str) -> str:
    """Return the list's query string without this value, from its first page."""
    rest = {key: [each for each in values if (key, each) != (name, value)] for key, values in cl.filter_params.items()}
    return "?" + urlencode(sorted((key, values) for key, values in rest.items() if values), doseq=True)
