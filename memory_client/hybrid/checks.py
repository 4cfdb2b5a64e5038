"""What a caller gives for a memory, checked as the server would check it. Everything here raises InvalidMemory."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from memory_client.hybrid.errors import InvalidMemory
from memory_client.hybrid.nodes import LABELS, Entity, encode
from memory_client.hybrid.relevance import HALF_LIFE_HOURS

MAX_CONTENT_LENGTH, MAX_LABEL_LENGTH, MAX_SUMMARY_LENGTH = 100_000, 255, 10_000
MAX_TAGS, MAX_TAG_LENGTH, MAX_OBJECT_BYTES = 64, 128, 64 * 1024
#: What a caller may give beside content and type.
FIELDS = frozenset(
    (*LABELS, "summary", "tags", "metadata", "importance", "confidence", "base_relevance", "entity", "ttl_seconds")
)
UPDATABLE_FIELDS = FIELDS - {"entity", "ttl_seconds"} | {"content", "context_type"}


def to_json(value: Any, field: str) -> str:
    """Encode for a column. Raises InvalidMemory for what JSON cannot say: the standard library's encoder refuses NaN,
    of which msgspec's would make null."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMemory(field, "must be JSON") from error
    return text


def check_label(value: Any, field: str, longest: int = MAX_LABEL_LENGTH) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidMemory(field, "must be a text that is not empty")
    if len(value) > longest or "\0" in value:
        raise InvalidMemory(field, f"must have at most {longest:,} characters, and no NUL")
    to_json(value, field)  # which refuses half characters
    return value


def check_type(value: Any) -> str:
    if value not in HALF_LIFE_HOURS:
        raise InvalidMemory("context_type", f"must be one of {', '.join(sorted(HALF_LIFE_HOURS))}")
    return str(value)


def check_unit(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidMemory(field, "must be a number from 0 to 1")
    return float(value)


def check_object(value: Any, field: str) -> dict[str, Any]:
    """Return the object with keys of text. Raises InvalidMemory for what is no object, no JSON, or too large."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidMemory(field, "must be an object with keys of text")
    text = to_json(dict(value), field)
    if len(text.encode()) > MAX_OBJECT_BYTES:
        raise InvalidMemory(field, f"must have at most {MAX_OBJECT_BYTES:,} bytes as JSON")
    return msgspec.json.decode(text)


def check_tags(value: Any) -> list[str]:
    """Return the tags in lower case, each once, without None."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidMemory("tags", "must be a list of texts")
    tags = [check_label(tag, "tags", MAX_TAG_LENGTH).lower() for tag in value if tag is not None]
    if len(tags) > MAX_TAGS:
        raise InvalidMemory("tags", f"may be at most {MAX_TAGS}")
    return list(dict.fromkeys(tags))


def check_importance(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5:
        raise InvalidMemory("importance", "must be 1 to 5")
    return value


def check_ttl(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidMemory("ttl_seconds", "must be a number of seconds, at least 1")
    return value


def check_fields(given: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a node. Raises InvalidMemory, also for a field that there is not."""
    if unknown := sorted(set(given) - allowed):
        raise InvalidMemory(unknown[0], f"is no field; there are {', '.join(sorted(allowed))}")
    checked = {name: _check_field(name, value) for name, value in given.items() if name not in ("content", "entity")}
    if "content" in given:
        checked |= read_content(given["content"])
    if given.get("entity") is not None:
        checked["entity"] = read_entity(given["entity"])
    return checked


def _check_field(name: str, value: Any) -> Any:
    if name == "context_type":
        return check_type(value)
    if name in LABELS:
        return None if value is None and name != "source_system" else check_label(value, name)
    if name == "summary":
        return None if value is None else check_label(value, name, MAX_SUMMARY_LENGTH)
    if name in ("confidence", "base_relevance"):
        return check_unit(value, name)
    checks = {"tags": check_tags, "importance": check_importance, "ttl_seconds": check_ttl}
    return check_object(value, name) if name == "metadata" else checks[name](value)


def read_content(content: Any) -> dict[str, Any]:
    """Return text and data of a content, which is a text or an object."""
    if isinstance(content, str):
        return {"text": check_label(content, "content", MAX_CONTENT_LENGTH), "data": None}
    data = check_object(content, "content")
    return {"text": check_label(write_text(data), "content", MAX_CONTENT_LENGTH), "data": data}


def write_text(data: Mapping[str, Any]) -> str:
    """Write an object as lines of `name: value`, which can be searched by words and by meaning."""
    return "\n".join(
        f"{name}: {_write_value(value)}" for name, value in data.items() if value not in (None, "", [], {})
    )


def _write_value(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def read_entity(given: Any) -> Entity:
    entity = given if isinstance(given, Entity) else _convert_entity(given)
    for name in ("system", "id"):
        check_label(getattr(entity, name), f"entity.{name}")
    return entity


def _convert_entity(given: Any) -> Entity:
    try:
        return msgspec.convert(given, Entity)
    except msgspec.ValidationError as error:
        raise InvalidMemory("entity", str(error)) from error


def find_entity(data: Mapping[str, Any] | None) -> Entity | None:
    """Return the entity that an object describes, if it has both `entity_id` and `entity_system`."""
    if not data or not data.get("entity_id") or not data.get("entity_system"):
        return None
    name, kind = data.get("entity_name"), data.get("entity_type")
    return read_entity(
        {
            "system": str(data["entity_system"]),
            "id": str(data["entity_id"]),
            "name": name if isinstance(name, str) and name.strip() else None,
            "type": kind if isinstance(kind, str) and kind.strip() else None,
        }
    )
