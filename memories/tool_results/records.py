"""Records of other systems as entities, and the parts of their values that can be stored."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from memories.graph.relationships import EntityRef
from memory_site.core.http.fields import MAX_SAFE_INTEGER, check_visible

MAX_PARSE_DEPTH = 24
MAX_RECORD_FIELDS, MAX_FIELD_LENGTH, MAX_FIELD_NAME_LENGTH = 40, 400, 80
MAX_ENTITY_LABEL_LENGTH = 255
#: Types of entities whose record does not name its type. A known type is better.
GENERIC_TYPES = ("CustomObject", "Issue", "record")
UNSTORABLE_CHARACTERS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


@dataclass(frozen=True)
class EntityLink:
    start: EntityRef
    type: str
    end: EntityRef


@dataclass
class Entity:
    """A record: its identity, type and name, its scalar fields, and its links to other entities."""

    key: EntityRef
    type: str
    name: str | None
    fields: dict[str, Any]
    links: list[EntityLink] = field(default_factory=list)


def pick_scalars(record: Mapping, wanted: tuple) -> dict[str, Any]:
    """Return these fields as scalars, up to MAX_RECORD_FIELDS; those without a value are left out."""
    picked: dict[str, Any] = {}
    for name in wanted:
        value = to_scalar(record.get(name)) if name in record else None
        if value is not None and len(picked) < MAX_RECORD_FIELDS and isinstance(name, str):
            picked[replace_unstorable(name)[:MAX_FIELD_NAME_LENGTH]] = value
    return picked


def to_scalar(value: Any) -> Any:
    """Return a scalar for any JSON value: the name of an object, or the texts of a list joined by commas."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= MAX_SAFE_INTEGER else None
        case float():
            return value if abs(value) < 1e15 else None  # neither NaN nor infinity
        case str():
            return replace_unstorable(value)[:MAX_FIELD_LENGTH].strip() or None
        case Mapping() if value.get("type") == "doc":
            return " ".join(iter_document_texts(value))[:MAX_FIELD_LENGTH] or None
        case Mapping():
            names = ("display_value", "displayName", "name", "Name", "value", "key")
            return next(filter(None, (to_label(value.get(name)) for name in names)), None)
        case list():
            labels = filter(None, (to_label(each) for each in value[:MAX_RECORD_FIELDS]))
            return ", ".join(labels)[:MAX_FIELD_LENGTH] or None
    return None


def iter_document_texts(value: Any, level: int = 1) -> Iterator[str]:
    """Yield the texts of a document in the Atlassian Document Format."""
    if isinstance(value, list):
        for each in value[:MAX_RECORD_FIELDS]:
            yield from iter_document_texts(each, level)
    elif isinstance(value, Mapping) and level < MAX_PARSE_DEPTH:
        if (text := to_label(value.get("text"))) is not None:
            yield text
        yield from iter_document_texts(value.get("content"), level + 1)


def get_reference_name(value: Any) -> str | None:
    """Return a value, or the name of an object, as a label."""
    return to_label(to_scalar(value))


def to_label(value: Any) -> str | None:
    """Return a text that is a valid label, without unstorable characters; None for everything else."""
    if not isinstance(value, str):
        return None
    try:
        return check_visible(replace_unstorable(value[: 2 * MAX_ENTITY_LABEL_LENGTH]).strip()[:MAX_ENTITY_LABEL_LENGTH])
    except ValueError:
        return None


def replace_unstorable(value: str) -> str:
    """Replace characters that PostgreSQL cannot store, and control characters."""
    return UNSTORABLE_CHARACTERS.sub("\ufffd", value)
