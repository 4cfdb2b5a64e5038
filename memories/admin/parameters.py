"""The query string of the memories list: the selection that it means."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from pydantic import ValidationError

from memories.admin.suggestions import find_values
from memories.memory_types import Importance, MemoryType
from memories.models import LABEL_FIELDS
from memories.search.list_filters import MAX_CHOICES, ListFilters
from memories.search.selection import EMBEDDING_FILTERS, LITERAL, PATTERN, Selection, describe_validation_error
from memories.states import State
from memory_site.core.http.json_numbers import restore_floats
from memory_site.core.http.parsing import read_json

MAX_ID = 2**63 - 1
SEARCH_PARAMETER, MODE_PARAMETER, AFTER_PARAMETER = "q", "mode", "after"
TEXT_PARAMETERS = (*LABEL_FIELDS, "source_system", "key_prefix", "entity_system", "entity_type", "entity_id")
#: Labels by their parameter; each has also `…_like`, a part of the value, and `not_…`, which excludes values.
LABEL_PARAMETERS = {
    "memory_type": "memory_type",
    "user_id": "user_id",
    "source_system": "source_system",
    "tag": "tags",
    **{name: name for name in (*LABEL_FIELDS[1:], "entity_system")},
}
ALL_STATES = "all"
ALL_CHUNKS, ONLY_CHUNKS, NO_CHUNKS = "all", "only", "none"
#: With one of these the list has chunks of documents as well, unless it says otherwise.
SHOWING_CHUNKS = ("memory_type", "repo_id", "session_id", "embedding", "source_system")


def read_selection(parameters: QueryDict) -> Selection:
    """Read what the list shows, without a search by meaning. Raises ValueError, with a text to display, for an invalid
    value and for a part of a label that no label has."""
    namespace_id = parse_namespace_id(parameters.get("namespace"))
    try:
        filters = ListFilters.model_validate(read_filters(parameters, namespace_id))
    except ValidationError as error:
        raise ValueError(describe_validation_error(error)) from error
    embedding = parameters.get("embedding")
    selection = Selection(namespace_id, filters, embedding=embedding if embedding in EMBEDDING_FILTERS else None)
    mode, text = parameters.get(MODE_PARAMETER), parameters.get(SEARCH_PARAMETER, "").strip()
    if not text or mode not in (LITERAL, PATTERN):
        return selection
    return Selection(namespace_id, filters, text, mode, selection.embedding).checked()  # type: ignore[arg-type]


def read_filters(parameters: QueryDict, namespace_id: int | None) -> dict[str, Any]:
    given: dict[str, Any] = {name: value for name in TEXT_PARAMETERS if (value := parameters.get(name, "").strip())}
    given |= {
        name: read(value)
        for name, (key, read) in PARAMETER_PARSERS.items()
        if (value := parameters.get(key, "").strip())
    }
    if kinds := [kind for kind in parameters.getlist("memory_type") if kind]:
        given["memory_types"] = [parse_type(kind) for kind in kinds]
    given["one_of"] = read_parts(parameters, namespace_id) or None
    given["none_of"] = {
        field: values[:MAX_CHOICES]
        for name, field in LABEL_PARAMETERS.items()
        if (values := [value for value in parameters.getlist(f"not_{name}") if value.strip()])
    } or None
    given["chunks"] = read_chunks(parameters)
    return given


def read_parts(parameters: QueryDict, namespace_id: int | None) -> dict[str, list[str]]:
    """Return the values that contain the given parts. Raises ValueError if there are none."""
    found = {}
    for name, field in LABEL_PARAMETERS.items():
        if part := parameters.get(f"{name}_like", "").strip():
            found[field] = find_values(namespace_id, field, part[:255], MAX_CHOICES)
            if not found[field]:
                raise ValueError(f"no {name.replace('_id', '').replace('_', ' ')} contains “{part}”")
    return found


def read_chunks(parameters: QueryDict) -> bool | None:
    """Return whether the list has only chunks of documents, none of them (the usual list), or all memories."""
    chosen = get_chunks_choice(parameters)
    return None if chosen == ALL_CHUNKS else chosen == ONLY_CHUNKS


def get_chunks_choice(parameters: QueryDict) -> str:
    chosen = parameters.get("chunks", "")
    if chosen in (ALL_CHUNKS, ONLY_CHUNKS, NO_CHUNKS):
        return chosen
    return ALL_CHUNKS if any(parameters.get(name) for name in SHOWING_CHUNKS) else NO_CHUNKS


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


def parse_share(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError("confidence: must be a number from 0 to 1") from error


def parse_days(text: str) -> datetime:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 36_500):
        raise ValueError("expires: must be a number of days")
    return timezone.now() + timedelta(days=int(text))


def parse_metadata(text: str) -> dict[str, Any]:
    """Return the metadata that a memory must contain, written as a JSON object or as `name=value`."""
    name, equals, value = text.partition("=")
    if equals and name.strip() and not text.startswith("{"):
        return {name.strip(): parse_json_or_text(value.strip())}
    try:
        return restore_floats(read_json(text))
    except (ValueError, RecursionError) as error:
        raise ValueError("metadata: must be written as name=value or as a JSON object") from error


def parse_json_or_text(text: str) -> Any:
    try:
        return restore_floats(read_json(text))
    except (ValueError, RecursionError):
        return text


def parse_days_ago(text: str) -> datetime:
    return timezone.now() - timedelta(days=parse_count(text, 36_500))


def parse_count(text: str, most: int = 2**31 - 1) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:11]) <= most):
        raise ValueError(f"must be a number from 0 to {most:,}")
    return int(text)


def parse_states(text: str) -> list[State]:
    if text == ALL_STATES:
        return list(State)
    if text not in State.values:
        raise ValueError("state: there is no such state")
    return [State(text)]


def is_yes(text: str) -> bool:
    return text == "1"


# Fields of ListFilters whose query parameter has another name or format: the parameter, and its parser.
PARAMETER_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "tags": ("tag", lambda text: [text]),
    "keys": ("key", lambda text: [text]),
    "min_importance": ("min_importance", parse_importance),
    "important": ("important", is_yes),
    "created_after": ("created_from", parse_time),
    "created_before": ("created_to", lambda text: parse_time(text, days=1)),
    "has_summary": ("has_summary", is_yes),
    "related": ("related", is_yes),
    "used": ("used", is_yes),
    "max_confidence": ("max_confidence", parse_share),
    "expires_before": ("expires_within", parse_days),
    "metadata": ("metadata", parse_metadata),
    "states": ("states", parse_states),
    "finding": ("finding", str),
    "max_importance": ("max_importance", parse_importance),
    "used_less_than": ("used_less_than", parse_count),
    "unused_since": ("unused_days", parse_days_ago),
    "min_characters": ("min_characters", parse_count),
    "max_characters": ("max_characters", parse_count),
}
