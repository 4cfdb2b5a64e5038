"""One line for structured content, whatever it holds. Pure, and never failing: what cannot be read is left out."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from memories.types import MemoryType

MAX_SUMMARY_LENGTH, MAX_VALUE_LENGTH = 240, 80
#: How many fields, or names of a list, are told.
MAX_LISTED_ITEMS = 6
UNSTORABLE_CHARACTERS = re.compile("[\0\ud800-\udfff]")
NAME_KEYS = ("name", "title", "subject", "summary", "label", "display_name", "displayname", "short_description", "number",
         "key", "id", "text", "content", "value")  # fmt: skip
LIST_KEYS = ("results", "records", "items", "issues", "hits", "matches", "entities", "data", "rows", "result")


def build_summary(kind: str, data: Any, title: str = "") -> str:
    """One line of at most 240 characters, never empty. `title` says what it is about, where the caller knows."""
    told = SUMMARY_BUILDERS.get(kind, describe_fields)(data if isinstance(data, Mapping) else {"value": data})
    line = (
        ": ".join(part for part in (to_plain_text(title), told) if part)
        or to_plain_text(kind).replace("_", " ")
        or "nothing"
    )
    return truncate_text(line, MAX_SUMMARY_LENGTH)


def describe_entity(data: Mapping) -> str:
    record = data.get("entity_data")
    return describe_fields(record if isinstance(record, Mapping) else data)


def describe_search_result(data: Mapping) -> str:
    query, found = get_first_text(data, ("query", "search", "q", "question")), find_main_list(data)
    count = get_first_text(data, ("total", "total_count", "totalsize", "count")) or (
        "" if found is None else str(len(found))
    )
    said = " ".join(part for part in (count and format_result_count(count), query and f"for “{query}”") if part)
    return ": ".join(part for part in (said, join_names(found or [])) if part) or describe_fields(data)


def describe_selection(data: Mapping) -> str:
    chosen = get_first_text(data, ("selected", "selection", "choice", "chosen", "option", "value", *NAME_KEYS))
    others = next((each for name, each in iter_pairs(data) if name in ("options", "choices", "candidates")), None)
    of = f" of {len(others)}" if isinstance(others, list | tuple) and others else ""
    return f"chose {chosen}{of}" if chosen else describe_fields(data)


def describe_action(data: Mapping) -> str:
    done, end = (
        get_first_text(data, ("action", "operation", "verb", "task", "name")),
        get_first_text(data, ("outcome", "result", "status")),
    )
    said = " ".join(part for part in (done, get_first_text(data, ("target", "object", "entity"))) if part)
    return ": ".join(part for part in (said, end) if part) or describe_fields(data)


def describe_tool_output(data: Mapping) -> str:
    tool, error = get_first_text(data, ("tool", "tool_name", "function")), get_first_text(data, ("error", "exception"))
    found = find_main_list(data)
    told = (
        f"failed, {error}"
        if error
        else found is not None and f"{format_result_count(str(len(found)))} {join_names(found)}".strip()
    )
    rest = {name: value for name, value in iter_pairs(data) if name not in ("tool", "tool_name", "function")}
    return ": ".join(part for part in (tool, told or describe_inner(rest)) if part)


def describe_fact(data: Mapping) -> str:
    whole = get_first_text(data, ("fact", "statement", "text", "content"))
    parts = [get_first_text(data, names) for names in (("subject",), ("predicate", "relation"), ("object", "value"))]
    return whole or " ".join(part for part in parts if part) or describe_fields(data)


def describe_state(data: Mapping) -> str:
    inside = data.get("state")
    return describe_fields(inside) if isinstance(inside, Mapping) else describe_fields(data)


SUMMARY_BUILDERS: dict[str, Callable[[Mapping], str]] = {
    MemoryType.DOMAIN_ENTITY: describe_entity,
    MemoryType.SEARCH_RESULT: describe_search_result,
    MemoryType.USER_SELECTION: describe_selection,
    MemoryType.COMPLETED_ACTION: describe_action,
    MemoryType.TOOL_OUTPUT: describe_tool_output,
    MemoryType.CONVERSATION_FACT: describe_fact,
    MemoryType.TEMPORARY_STATE: describe_state,
}


def describe_inner(data: Mapping) -> str:
    """The fields of what is wrapped in a single field, else those of the whole."""
    only = next(iter(data.values())) if len(data) == 1 else None
    return describe_fields(only) if isinstance(only, Mapping) else describe_fields(data)


def describe_fields(data: Mapping) -> str:
    """Its first fields that say something, as `name value`."""
    told = ((name, to_plain_text(value)) for name, value in iter_pairs(data))
    return ", ".join(islice((f"{name} {value}" for name, value in told if value), MAX_LISTED_ITEMS))


def format_result_count(count: str) -> str:
    return "1 result" if count == "1" else f"{count} results"


def join_names(found: list | tuple) -> str:
    told = (
        get_first_text(each, NAME_KEYS) if isinstance(each, Mapping) else to_plain_text(each) for each in found[:50]
    )
    return "; ".join(islice((each for each in told if each), MAX_LISTED_ITEMS))


def find_main_list(data: Mapping) -> list | tuple | None:
    """The list that the data is about: under a usual name, there or one level deeper, else its only list."""
    inside = (each for name, each in iter_pairs(data) if name.lower() in LIST_KEYS and isinstance(each, Mapping))
    for place in (data, next(inside, {})):
        lists = {name.lower(): each for name, each in iter_pairs(place) if isinstance(each, list | tuple)}
        if usual := [lists[name] for name in LIST_KEYS if name in lists]:
            return usual[0]
        others = [each for name, each in lists.items() if each and name not in ("errors", "warnings")]
        if len(others) == 1:
            return others[0]
    return None


def get_first_text(data: Mapping, wanted: tuple[str, ...]) -> str:
    """The first of these fields that says something, in whatever case its name is written."""
    known = {name.lower(): value for name, value in reversed(list(iter_pairs(data)))}
    return next((said for name in wanted if (said := to_plain_text(known.get(name)))), "")


def iter_pairs(data: Mapping) -> Iterator[tuple[str, Any]]:
    return ((to_plain_text(name), value) for name, value in islice(data.items(), 100))


def to_plain_text(value: Any) -> str:
    """A single value on one line; of an object its name, of a list how long it is."""
    match value:
        case None:
            return ""
        case str():
            return truncate_text(
                " ".join(UNSTORABLE_CHARACTERS.sub("\ufffd", value[: 4 * MAX_SUMMARY_LENGTH]).split()), MAX_VALUE_LENGTH
            )
        case bool():
            return "yes" if value else "no"
        case int():  # Python writes out no number of thousands of digits
            return str(value) if value.bit_length() < 200 else "a large number"
        case float():
            return f"{value:.10g}"
        case Mapping():
            return get_first_text(
                {name: each for name, each in iter_pairs(value) if isinstance(each, str | int)}, NAME_KEYS
            )
        case list() | tuple():
            return f"{len(value)} items" if value else ""
    return ""


def truncate_text(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
