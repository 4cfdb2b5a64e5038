"""LlamaIndex's metadata filters as the server's: `any_metadata`, one of whose objects a memory's metadata contains, and
`without_metadata`, none of whose objects they contain."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from memory_client.extras import framework
from memory_client.keyed import MAX_METADATA_OBJECTS

with framework("llamaindex"):
    from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

#: The name under which the store keeps to whom and to which collection a node belongs.
ADAPTER = "llamaindex"
Object = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """Metadata contain one of `any_of` (None: whatever they contain), and none of `none_of`."""

    any_of: tuple[Object, ...] | None = None
    none_of: tuple[Object, ...] = ()

    @property
    def is_impossible(self) -> bool:
        return self.any_of == () or {} in self.none_of

    @property
    def is_mixed(self) -> bool:
        return self.any_of is not None and bool(self.none_of)

    def to_filters(self) -> dict[str, list[Object]]:
        """Return the filters of a request. Raises ValueError if they are too many."""
        filters = {"any_metadata": list(self.any_of or ()), "without_metadata": list(self.none_of)}
        for objects in filters.values():
            if len(objects) > MAX_METADATA_OBJECTS:
                raise ValueError(
                    f"The filters have {len(objects)} alternatives; at most {MAX_METADATA_OBJECTS} can be answered."
                )
        return {name: objects for name, objects in filters.items() if objects}


def translate(filters: MetadataFilters | None) -> Condition:
    """Return the condition that says the same. Raises ValueError, which names the operator, if there is none."""
    if filters is None or not filters.filters:
        return Condition()
    conditions = [translate(each) if isinstance(each, MetadataFilters) else compare(each) for each in filters.filters]
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return join_and(conditions)
        case FilterCondition.OR:
            return join_or(conditions)
        case FilterCondition.NOT:
            return join_and([negate(each) for each in conditions])
        case other:
            raise ValueError(f"The condition {other!r} is not known.")


def join_and(conditions: Iterable[Condition]) -> Condition:
    conditions = list(conditions)
    alternatives = [each.any_of for each in conditions if each.any_of is not None]
    excluded = tuple(each for condition in conditions for each in condition.none_of)
    return Condition(reduce(combine, alternatives) if alternatives else None, excluded)


def join_or(conditions: Sequence[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    if all(each.any_of is not None and not each.none_of for each in conditions):
        return Condition(tuple(item for each in conditions for item in each.any_of or ()))
    if all(each.any_of is None for each in conditions):  # not a, or not b: not both
        return Condition(None, reduce(combine, (each.none_of for each in conditions)))
    raise ValueError("`or` cannot join an exclusion (!=, nin, not) with anything else.")


def negate(condition: Condition) -> Condition:
    if condition.is_mixed:
        raise ValueError("`not` cannot negate filters of which one is an exclusion (!=, nin, not) and another is not.")
    if condition.any_of is None:
        return Condition(condition.none_of)
    return Condition(None, condition.any_of)


def combine(first: Sequence[Object], second: Sequence[Object]) -> tuple[Object, ...]:
    """Return objects of which metadata contain one if, and only if, they contain one of the first and of the second."""
    if len(first) * len(second) > MAX_METADATA_OBJECTS**2:
        raise ValueError(f"The filters have {len(first) * len(second)} combinations; that is too many.")
    return tuple(merged for one in first for other in second if (merged := merge(one, other)) is not None)


def merge(one: Object, other: Object) -> Object | None:
    """Return the object that contains both; None: nothing contains both."""
    merged = dict(one)
    for key, value in other.items():
        if key not in merged:
            merged[key] = value
        elif isinstance(value, list) and isinstance(merged[key], list):
            merged[key] = [*merged[key], *(each for each in value if each not in merged[key])]
        elif merged[key] != value:
            return None
    return merged


def compare(condition: MetadataFilter) -> Condition:
    """Return the condition of one filter. A field that is not there differs from every value."""
    if condition.key == ADAPTER:
        raise refuse(condition, "this is where the store keeps its own")
    if condition.operator not in COMPARISONS:
        known = ", ".join(operator.value for operator in COMPARISONS)
        raise refuse(condition, f"the operator is not supported; these are: {known}")
    return COMPARISONS[condition.operator](condition)


def read_value(condition: MetadataFilter) -> Any:
    if condition.value is None or isinstance(condition.value, list):
        raise refuse(condition, "the value must be a text or a number")
    return condition.value


def read_values(condition: MetadataFilter) -> list[Any]:
    if not isinstance(condition.value, list):
        raise refuse(condition, "the value must be a list")
    return condition.value


def contains_all(condition: MetadataFilter) -> Condition:
    if not read_values(condition):
        raise refuse(condition, "the list is empty")
    return Condition(({condition.key: read_values(condition)},))


def refuse(condition: MetadataFilter, reason: str) -> ValueError:
    return ValueError(f"The filter `{condition.key} {condition.operator.value} {condition.value!r}`: {reason}.")


#: Comparisons that containment answers exactly. `contains`, `any` and `all` look into lists, and not into texts.
COMPARISONS: dict[FilterOperator, Callable[[MetadataFilter], Condition]] = {
    FilterOperator.EQ: lambda each: Condition(({each.key: read_value(each)},)),
    FilterOperator.NE: lambda each: Condition(None, ({each.key: read_value(each)},)),
    FilterOperator.IN: lambda each: Condition(tuple({each.key: value} for value in read_values(each))),
    FilterOperator.NIN: lambda each: Condition(None, tuple({each.key: value} for value in read_values(each))),
    FilterOperator.CONTAINS: lambda each: Condition(({each.key: [read_value(each)]},)),
    FilterOperator.ANY: lambda each: Condition(tuple({each.key: [value]} for value in read_values(each))),
    FilterOperator.ALL: contains_all,
}
