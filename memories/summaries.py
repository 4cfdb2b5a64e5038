"""One line for structured content, whatever it holds. Pure, and never failing: what cannot be read is left out."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from memories.types import MemoryType

LONGEST, LONGEST_VALUE = 240, 80
#: How many fields, or names of a list, are told.
TOLD = 6
UNTOLD = re.compile("[\0\ud800-\udfff]")
NAMES = ("name", "title", "subject", "summary", "label", "display_name", "displayname", "short_description", "number",
         "key", "id", "text", "content", "value")  # fmt: skip
LISTS = ("results", "records", "items", "issues", "hits", "matches", "entities", "data", "rows", "result")


def summary_of(kind: str, data: Any, title: str = "") -> str:
    """One line of at most 240 characters, never empty. `title` says what it is about, where the caller knows."""
    told = SUMMARIES.get(kind, fields)(data if isinstance(data, Mapping) else {"value": data})
    line = ": ".join(part for part in (plain(title), told) if part) or plain(kind).replace("_", " ") or "nothing"
    return cut(line, LONGEST)


def entity(data: Mapping) -> str:
    record = data.get("entity_data")
    return fields(record if isinstance(record, Mapping) else data)


def search_result(data: Mapping) -> str:
    query, found = first(data, ("query", "search", "q", "question")), listed(data)
    count = first(data, ("total", "total_count", "totalsize", "count")) or ("" if found is None else str(len(found)))
    said = " ".join(part for part in (count and results(count), query and f"for “{query}”") if part)
    return ": ".join(part for part in (said, names(found or [])) if part) or fields(data)


def selection(data: Mapping) -> str:
    chosen = first(data, ("selected", "selection", "choice", "chosen", "option", "value", *NAMES))
    others = next((each for name, each in pairs(data) if name in ("options", "choices", "candidates")), None)
    of = f" of {len(others)}" if isinstance(others, list | tuple) and others else ""
    return f"chose {chosen}{of}" if chosen else fields(data)


def action(data: Mapping) -> str:
    done, end = (
        first(data, ("action", "operation", "verb", "task", "name")),
        first(data, ("outcome", "result", "status")),
    )
    said = " ".join(part for part in (done, first(data, ("target", "object", "entity"))) if part)
    return ": ".join(part for part in (said, end) if part) or fields(data)


def tool_output(data: Mapping) -> str:
    tool, error = first(data, ("tool", "tool_name", "function")), first(data, ("error", "exception"))
    found = listed(data)
    told = f"failed, {error}" if error else found is not None and f"{results(str(len(found)))} {names(found)}".strip()
    rest = {name: value for name, value in pairs(data) if name not in ("tool", "tool_name", "function")}
    return ": ".join(part for part in (tool, told or inner(rest)) if part)


def fact(data: Mapping) -> str:
    whole = first(data, ("fact", "statement", "text", "content"))
    parts = [first(data, names) for names in (("subject",), ("predicate", "relation"), ("object", "value"))]
    return whole or " ".join(part for part in parts if part) or fields(data)


def state(data: Mapping) -> str:
    inside = data.get("state")
    return fields(inside) if isinstance(inside, Mapping) else fields(data)


SUMMARIES: dict[str, Callable[[Mapping], str]] = {
    MemoryType.DOMAIN_ENTITY: entity,
    MemoryType.SEARCH_RESULT: search_result,
    MemoryType.USER_SELECTION: selection,
    MemoryType.COMPLETED_ACTION: action,
    MemoryType.TOOL_OUTPUT: tool_output,
    MemoryType.CONVERSATION_FACT: fact,
    MemoryType.TEMPORARY_STATE: state,
}


def inner(data: Mapping) -> str:
    """The fields of what is wrapped in a single field, else those of the whole."""
    only = next(iter(data.values())) if len(data) == 1 else None
    return fields(only) if isinstance(only, Mapping) else fields(data)


def fields(data: Mapping) -> str:
    """Its first fields that say something, as `name value`."""
    told = ((name, plain(value)) for name, value in pairs(data))
    return ", ".join(islice((f"{name} {value}" for name, value in told if value), TOLD))


def results(count: str) -> str:
    return "1 result" if count == "1" else f"{count} results"


def names(found: list | tuple) -> str:
    told = (first(each, NAMES) if isinstance(each, Mapping) else plain(each) for each in found[:50])
    return "; ".join(islice((each for each in told if each), TOLD))


def listed(data: Mapping) -> list | tuple | None:
    """The list that the data is about: under a usual name, there or one level deeper, else its only list."""
    inside = (each for name, each in pairs(data) if name.lower() in LISTS and isinstance(each, Mapping))
    for place in (data, next(inside, {})):
        lists = {name.lower(): each for name, each in pairs(place) if isinstance(each, list | tuple)}
        if usual := [lists[name] for name in LISTS if name in lists]:
            return usual[0]
        others = [each for name, each in lists.items() if each and name not in ("errors", "warnings")]
        if len(others) == 1:
            return others[0]
    return None


def first(data: Mapping, wanted: tuple[str, ...]) -> str:
    """The first of these fields that says something, in whatever case its name is written."""
    known = {name.lower(): value for name, value in reversed(list(pairs(data)))}
    return next((said for name in wanted if (said := plain(known.get(name)))), "")


def pairs(data: Mapping) -> Iterator[tuple[str, Any]]:
    return ((plain(name), value) for name, value in islice(data.items(), 100))


def plain(value: Any) -> str:
    """A single value on one line; of an object its name, of a list how long it is."""
    match value:
        case None:
            return ""
        case str():
            return cut(" ".join(UNTOLD.sub("\ufffd", value[: 4 * LONGEST]).split()), LONGEST_VALUE)
        case bool():
            return "yes" if value else "no"
        case int():  # Python writes out no number of thousands of digits
            return str(value) if value.bit_length() < 200 else "a large number"
        case float():
            return f"{value:.10g}"
        case Mapping():
            return first({name: each for name, each in pairs(value) if isinstance(each, str | int)}, NAMES)
        case list() | tuple():
            return f"{len(value)} items" if value else ""
    return ""


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
