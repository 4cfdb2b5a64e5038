"""Summarise structured content of any shape in one line. Pure functions that never fail: they skip unreadable parts."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from memories.memory_types import MemoryType

MAX_SUMMARY_LENGTH, MAX_VALUE_LENGTH = 240, 80
#: How many fields of an object, or names of a list, a summary mentions.
MAX_LISTED_ITEMS = 6
UNSTORABLE_CHARACTERS = re.compile("[\0\ud800-\udfff]")
NAME_KEYS = (
    "name", "title", "subject", "summary", "label", "display_name", "displayname", "short_description", "number", "key",
    "id", "text", "content", "value",
)  # fmt: skip
LIST_KEYS = ("results", "records", "items", "issues", "hits", "matches", "entities", "data", "rows", "result")


def build_summary(kind: str, data: Any, title: str = "") -> str:
    """Return one line of at most MAX_SUMMARY_LENGTH characters, never empty. `title`, if given, comes first."""
    describe = SUMMARY_BUILDERS.get(kind, describe_fields)
    description = describe(data if isinstance(data, Mapping) else {"value": data})
    line = join_parts(": ", to_plain_text(title), description)
    return truncate_text(line or to_plain_text(kind).replace("_", " ") or "nothing", MAX_SUMMARY_LENGTH)


def join_parts(separator: str, *parts: str | None) -> str:
    """Join the parts that are not empty."""
    return separator.join(part for part in parts if part)


def describe_entity(data: Mapping) -> str:
    record = data.get("entity_data")
    return describe_fields(record if isinstance(record, Mapping) else data)


def describe_search_result(data: Mapping) -> str:
    query, found = get_first_text(data, ("query", "search", "q", "question")), find_main_list(data)
    count = get_first_text(data, ("total", "total_count", "totalsize", "count"))
    count = count or ("" if found is None else str(len(found)))
    results = join_parts(" ", count and format_result_count(count), query and f"for “{query}”")
    return join_parts(": ", results, join_names(found or [])) or describe_fields(data)


def describe_selection(data: Mapping) -> str:
    chosen = get_first_text(data, ("selected", "selection", "choice", "chosen", "option", "value", *NAME_KEYS))
    others = next((each for name, each in iter_pairs(data) if name in ("options", "choices", "candidates")), None)
    of = f" of {len(others)}" if isinstance(others, list | tuple) and others else ""
    return f"chose {chosen}{of}" if chosen else describe_fields(data)


def describe_action(data: Mapping) -> str:
    verb = get_first_text(data, ("action", "operation", "verb", "task", "name"))
    outcome = get_first_text(data, ("outcome", "result", "status"))
    action = join_parts(" ", verb, get_first_text(data, ("target", "object", "entity")))
    return join_parts(": ", action, outcome) or describe_fields(data)


def describe_tool_output(data: Mapping) -> str:
    tool, error = get_first_text(data, ("tool", "tool_name", "function")), get_first_text(data, ("error", "exception"))
    rest = {name: value for name, value in iter_pairs(data) if name not in ("tool", "tool_name", "function")}
    if error:
        outcome = f"failed, {error}"
    elif (found := find_main_list(data)) is not None:
        outcome = join_parts(" ", format_result_count(str(len(found))), join_names(found))
    else:
        outcome = describe_inner(rest)
    return join_parts(": ", tool, outcome)


def describe_fact(data: Mapping) -> str:
    whole = get_first_text(data, ("fact", "statement", "text", "content"))
    parts = [get_first_text(data, names) for names in (("subject",), ("predicate", "relation"), ("object", "value"))]
    return whole or join_parts(" ", *parts) or describe_fields(data)


def describe_state(data: Mapping) -> str:
    state = data.get("state")
    return describe_fields(state if isinstance(state, Mapping) else data)


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
    """Describe the object that a single field wraps, else the object itself."""
    only = next(iter(data.values())) if len(data) == 1 else None
    return describe_fields(only) if isinstance(only, Mapping) else describe_fields(data)


def describe_fields(data: Mapping) -> str:
    """List the first fields that have a text, as `name value`."""
    fields = ((name, to_plain_text(value)) for name, value in iter_pairs(data))
    return ", ".join(islice((f"{name} {text}" for name, text in fields if text), MAX_LISTED_ITEMS))


def format_result_count(count: str) -> str:
    return "1 result" if count == "1" else f"{count} results"


def join_names(found: list | tuple) -> str:
    names = (
        get_first_text(item, NAME_KEYS) if isinstance(item, Mapping) else to_plain_text(item) for item in found[:50]
    )
    return "; ".join(islice((name for name in names if name), MAX_LISTED_ITEMS))


def find_main_list(data: Mapping) -> list | tuple | None:
    """Find the main list: under one of LIST_KEYS, at the top or one level deeper, else the only list."""
    nested = (value for name, value in iter_pairs(data) if name.lower() in LIST_KEYS and isinstance(value, Mapping))
    for level in (data, next(nested, {})):
        lists = {name.lower(): value for name, value in iter_pairs(level) if isinstance(value, list | tuple)}
        if usual := [lists[name] for name in LIST_KEYS if name in lists]:
            return usual[0]
        others = [value for name, value in lists.items() if value and name not in ("errors", "warnings")]
        if len(others) == 1:
            return others[0]
    return None


def get_first_text(data: Mapping, wanted: tuple[str, ...]) -> str:
    """Return the text of the first of these fields that has one. Names match in any case."""
    values = {name.lower(): value for name, value in reversed(list(iter_pairs(data)))}
    return next((text for name in wanted if (text := to_plain_text(values.get(name)))), "")


def iter_pairs(data: Mapping) -> Iterator[tuple[str, Any]]:
    return ((to_plain_text(name), value) for name, value in islice(data.items(), 100))


def to_plain_text(value: Any) -> str:
    """Write a value on one line: of an object its name, of a list its length."""
    match value:
        case None:
            return ""
        case str():
            text = UNSTORABLE_CHARACTERS.sub("\ufffd", value[: 4 * MAX_SUMMARY_LENGTH])
            return truncate_text(" ".join(text.split()), MAX_VALUE_LENGTH)
        case bool():
            return "yes" if value else "no"
        case int():  # Python refuses to convert integers of thousands of digits
            return str(value) if value.bit_length() < 200 else "a large number"
        case float():
            return f"{value:.10g}"
        case Mapping():
            scalars = {name: item for name, item in iter_pairs(value) if isinstance(item, str | int)}
            return get_first_text(scalars, NAME_KEYS)
        case list() | tuple():
            return f"{len(value)} items" if value else ""
    return ""


def truncate_text(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
