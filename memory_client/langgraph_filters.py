"""The filters of a LangGraph search: which are refused, which the server answers, and which items match.

A filter maps fields of the value to what they equal, or to operators. An object in it matches one with at least its
fields, and a list one that matches it element by element. `true` is not 1. `$gt` and the like compare what can be read
as numbers by size, and other texts by their characters; between the two, nothing is greater.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memory_client.keyed import MAX_METADATA_OBJECTS

Filter = Mapping[str, Any]
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS = ("$eq", "$ne", *COMPARISONS)
#: Longer texts are not repeated where the server looks for the fields of a value.
MAX_REPEATED_LENGTH = 255


def check_filter(condition: Any, path: str = "filter") -> None:
    """Raise ValueError, which names the field, for an operator that is not known, or not asked for a number or a
    text."""
    if not isinstance(condition, Mapping):
        return
    if has_operators(condition):
        for name, expected in condition.items():
            if name not in OPERATORS:
                raise ValueError(f"{path}: unsupported operator {name}; there are {', '.join(OPERATORS)}.")
            if name in COMPARISONS and to_number(expected) is None and not isinstance(expected, str):
                raise ValueError(f"{path}: {name} compares numbers or texts, not {expected!r}.")
        return
    for name, inner in condition.items():
        check_filter(inner, f"{path}.{name}")


def has_operators(condition: Mapping[str, Any]) -> bool:
    return any(name.startswith("$") for name in condition)


def to_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def matches(value: Mapping[str, Any], condition: Filter) -> bool:
    """Whether the value of an item meets a filter. A field that is not there is None."""
    return all(meets(value.get(name), expected) for name, expected in condition.items())


def meets(value: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        if has_operators(expected):
            return all(applies(value, name, operand) for name, operand in expected.items())
        return isinstance(value, Mapping) and matches(value, expected)
    if isinstance(expected, list | tuple):
        return isinstance(value, list) and len(value) == len(expected) and all(map(meets, value, expected))
    return equals(value, expected)


def applies(value: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return equals(value, operand)
    if name == "$ne":
        return not equals(value, operand)
    return compares(value, name, operand)


def compares(value: Any, name: str, operand: Any) -> bool:
    pair = to_number(value), to_number(operand)
    if None not in pair:
        return COMPARISONS[name](*pair)
    return isinstance(value, str) and isinstance(operand, str) and COMPARISONS[name](value, operand)


def equals(value: Any, expected: Any) -> bool:
    """Whether both are the same JSON."""
    if isinstance(expected, list | tuple):
        return isinstance(value, list) and len(value) == len(expected) and all(map(equals, value, expected))
    if isinstance(expected, Mapping) and isinstance(value, Mapping):
        return value.keys() == expected.keys() and all(equals(value[name], expected[name]) for name in expected)
    return isinstance(value, bool) == isinstance(expected, bool) and bool(value == expected)


def is_repeated(value: Any) -> bool:
    """Whether a field with this value is repeated where the server looks for fields."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= MAX_REPEATED_LENGTH)


def select_repeated(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if is_repeated(inner)}


@dataclass
class Pushed:
    """What the server compares of a filter: fields that are equal, and fields that are not."""

    equal: dict[str, Any] = field(default_factory=dict)
    unequal: list[dict[str, Any]] = field(default_factory=list)
    is_whole: bool = True


def push_filter(condition: Filter) -> Pushed:
    """Return the part of a filter that the server compares."""
    pushed = Pushed()
    for name, expected in condition.items():
        operators = expected if isinstance(expected, Mapping) and has_operators(expected) else {"$eq": expected}
        for each, operand in operators.items():
            if each == "$eq" and is_repeated(operand) and name not in pushed.equal:
                pushed.equal[name] = operand
            elif each == "$ne" and is_repeated(operand) and len(pushed.unequal) < MAX_METADATA_OBJECTS:
                pushed.unequal.append({name: operand})
            else:
                pushed.is_whole = False
    return pushed
