"""Store the result of a tool: the result as a memory, its entities as memories, and their relationships."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from memories.add import add_many
from memories.graph.models import RelationshipType
from memories.graph.relationships import (
    EntityRef,
    NewPendingRelationship,
    NewRelationship,
    insert_pending,
    upsert_relationships,
)
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, EntityIn, MemoryIn, to_memory_out
from memories.summaries import build_summary
from memories.tool_results.extract import extract_entities
from memories.tool_results.records import GENERIC_TYPES, Entity, EntityLink, replace_unstorable
from memories.tool_results.schemas import ToolResultIn
from memory_site.core.http.fields import MAX_SAFE_INTEGER, check_json_object

#: Levels and values of a result that are copied, and characters of the text that replaces a larger result.
MAX_READ_DEPTH, MAX_READ_VALUES, MAX_TRUNCATED_TEXT_LENGTH = 32, 50_000, 30_000
#: Levels of `data`; deeper values are stored as JSON texts.
MAX_STORED_DEPTH = 8
#: Characters of the result in the content, which is embedded.
MAX_RESULT_EXCERPT_LENGTH = 4_000
MAX_ENTITY_CONTENT_LENGTH = 20_000
MAX_ENTITY_FIELDS, MAX_ENTITY_LINKS = 100, 2_000
# Beyond these, PostgreSQL would write numbers such as 1e100 with a hundred digits.
MAX_STORED_FLOAT, MIN_STORED_FLOAT = 1e20, 1e-20


class KnownEntity(NamedTuple):
    """An entity as stored before this result."""

    fields: Mapping[str, Any]
    type: str | None
    name: str | None


UNKNOWN_ENTITY = KnownEntity({}, None, None)


class StorableCopy:
    """A copy of any JSON that can be stored: texts without unstorable characters, inexact numbers as texts.

    `truncated` is whether something was left out.
    """

    def __init__(self, value: Any) -> None:
        self.values_left, self.truncated = MAX_READ_VALUES, False
        self.value = self.copy(value, 1)

    def copy(self, value: Any, level: int) -> Any:
        self.values_left -= 1
        if isinstance(value, dict | list) and (level > MAX_READ_DEPTH or self.values_left < 0):
            self.truncated = True
            return "…"
        match value:
            case dict():
                items = self.take(value.items())
                return {replace_unstorable(str(name)): self.copy(each, level + 1) for name, each in items}
            case list():
                return [self.copy(each, level + 1) for each in self.take(value)]
            case str():
                return replace_unstorable(value)
        return to_exact_number(value)

    def take(self, values: Iterable) -> list:
        """Return the first values, as many as may still be copied."""
        values, limit = list(values), max(self.values_left, 0)
        self.truncated = self.truncated or len(values) > limit
        return values[:limit]


def to_exact_number(value: Any) -> Any:
    """Return a value that all JSON readers read exactly; other numbers as texts."""
    exact = not isinstance(value, float) or value == 0 or MIN_STORED_FLOAT < abs(value) < MAX_STORED_FLOAT
    if isinstance(value, int) and not isinstance(value, bool):
        exact = abs(value) <= MAX_SAFE_INTEGER
    return value if exact else str(value)


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def build_data(copy: StorableCopy) -> tuple[dict[str, Any], bool]:
    """Return `data` for a result, and whether it is a truncated text because the result is too large."""
    result = copy.value if isinstance(copy.value, dict) else {"result": copy.value}
    for data in () if copy.truncated else (result, flatten(result, MAX_STORED_DEPTH)):
        with suppress(ValueError):
            return check_json_object(data), False
    text = to_text(copy.value)
    return {"truncated": True, "characters": len(text), "text": text[:MAX_TRUNCATED_TEXT_LENGTH]}, True


def flatten(value: Any, levels: int) -> Any:
    """Return the value with everything below these levels as JSON texts."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return to_text(value)
    if isinstance(value, list):
        return [flatten(each, levels - 1) for each in value]
    return {name: flatten(each, levels - 1) for name, each in value.items()}


def store_tool_result(namespace_id: int, payload: ToolResultIn) -> dict[str, Any]:
    """Store it and return ToolResultOut. At most ten statements, however many entities there are."""
    copy, found = StorableCopy(payload.result), extract_entities(payload.result)
    data, truncated = build_data(copy)
    known = fetch_known_entities(namespace_id, payload.user_id, found)
    entities = [build_entity_memory(payload, each, known.get(each.key, UNKNOWN_ENTITY)) for each in found.values()]
    memories = [build_result_memory(payload, copy, data), *entities]
    owner = payload.user_id or ""
    with transaction.atomic():
        ids, _ = add_many(namespace_id, memories)
        entity_ids = dict(zip(found, ids[1:], strict=True))
        produced = [NewRelationship(ids[0], pk, RelationshipType.PRODUCES) for pk in entity_ids.values()]
        upsert_relationships(namespace_id, owner, [*produced, *build_relationships(found, entity_ids)])
        insert_pending(namespace_id, owner, build_pending_relationships(found, entity_ids))
        stored = Memory.objects.filter(namespace_id=namespace_id, pk__in=ids).values(*OUT_COLUMNS)
        rows = {row["id"]: to_memory_out(row) for row in stored}
    return {"memory": rows[ids[0]], "entities": [rows[pk] for pk in ids[1:]], "truncated": truncated}


def build_result_memory(payload: ToolResultIn, copy: StorableCopy, data: Mapping[str, Any]) -> MemoryIn:
    """Build the memory of the result. The content identifies it: a long result is identified by its digest."""
    text = to_text(copy.value)
    summary = payload.summary or build_summary(MemoryType.TOOL_OUTPUT, wrap_in_object(copy.value), payload.tool)
    digest = ""
    if len(text) > MAX_RESULT_EXCERPT_LENGTH:
        digest = f"… {len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
    return MemoryIn.model_construct(
        **copy_labels(payload),
        content=f"{summary}\n{text[:MAX_RESULT_EXCERPT_LENGTH]}{digest}",
        summary=summary,
        data=dict(data),
        metadata={**payload.metadata, "tool": payload.tool},
        memory_type=MemoryType.TOOL_OUTPUT,
        source_system=payload.tool,
        importance=payload.importance,
        tags=payload.tags,
        expires_at=payload.expires_at,
    )


def wrap_in_object(value: Any) -> Any:
    return value if isinstance(value, dict) else {"result": value}


def build_entity_memory(payload: ToolResultIn, entity: Entity, known: KnownEntity) -> MemoryIn:
    """Build the memory of the entity with all known fields, the new ones first: a bare mention removes nothing."""
    fields = merge_fields(known.fields, entity.fields)
    system, own_id = entity.key
    kind = known.type if known.type and entity.type in GENERIC_TYPES else entity.type
    name = entity.name or known.name
    title = f"{kind} {name or own_id}"
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return MemoryIn.model_construct(
        **copy_labels(payload),
        content="\n".join([f"{title} ({system} {own_id})", *lines])[:MAX_ENTITY_CONTENT_LENGTH],
        summary=build_summary(MemoryType.DOMAIN_ENTITY, {"entity_data": fields}, title),
        data={"entity_data": fields},
        memory_type=MemoryType.DOMAIN_ENTITY,
        source_system=system,
        entity=EntityIn.model_construct(system=system, id=own_id, type=kind, name=name),
    )


def merge_fields(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the fields, new values first. No field is added beyond MAX_ENTITY_FIELDS."""
    room = max(MAX_ENTITY_FIELDS - len(known), 0)
    added = [name for name in given if name not in known][:room]
    newer = {name: given[name] for name in given if name in known or name in added}
    return {**newer, **{name: known[name] for name in known if name not in newer}}


def copy_labels(payload: ToolResultIn) -> dict[str, Any]:
    labels = ("user_id", "agent_id", "workflow_id", "repo_id", "session_id")
    return {name: getattr(payload, name) for name in labels}


def fetch_known_entities(
    namespace_id: int, user_id: str | None, found: Mapping[EntityRef, Entity]
) -> dict[EntityRef, KnownEntity]:
    """Return those of these entities that are stored already."""
    if not found:
        return {}
    mine = Memory.objects.in_namespace(namespace_id).filter(user_id=user_id)
    wanted = Q(entity_system__in={system for system, _ in found}, entity_id__in={own_id for _, own_id in found})
    columns = ("entity_system", "entity_id", "entity_type", "entity_name", "data__entity_data")
    rows = mine.filter(wanted).values_list(*columns)
    return {
        (system, own_id): KnownEntity(data if isinstance(data, dict) else {}, kind, name)
        for system, own_id, kind, name, data in rows
    }


def build_relationships(found: Mapping[EntityRef, Entity], ids: Mapping[EntityRef, UUID]) -> list[NewRelationship]:
    """Build the relationships between two entities of this result."""
    return [
        NewRelationship(ids[link.start], ids[link.end], link.type)
        for link in collect_links(found)
        if link.start in ids and link.end in ids
    ]


def build_pending_relationships(
    found: Mapping[EntityRef, Entity], ids: Mapping[EntityRef, UUID]
) -> list[NewPendingRelationship]:
    """Build the relationships between an entity of this result and one that is not in it."""
    return [
        NewPendingRelationship(ids[link.start], *link.end, link.type, False)
        if link.start in ids
        else NewPendingRelationship(ids[link.end], *link.start, link.type, True)
        for link in collect_links(found)
        if (link.start in ids) != (link.end in ids)
    ]


def collect_links(found: Mapping[EntityRef, Entity]) -> list[EntityLink]:
    """Return the first MAX_ENTITY_LINKS distinct links; an entity is not linked to itself."""
    links = dict.fromkeys(link for entity in found.values() for link in entity.links if link.start != link.end)
    return list(links)[:MAX_ENTITY_LINKS]
