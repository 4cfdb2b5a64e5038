"""Keeping what a tool gave: its result as a memory, the entities in it as others, and what joins them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q

from memories.add import add_many
from memories.graph.models import RelationshipType
from memories.graph.relationships import NewPendingRelationship, NewRelationship, insert_pending, upsert_relationships
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, EntityIn, MemoryIn, to_memory_out
from memories.summaries import build_summary
from memories.tool_results.extract import GENERIC_TYPES, Entity, EntityRef, extract_entities, replace_unstorable
from memories.tool_results.schemas import ToolResultIn
from memories.types import MemoryType
from memory_site.core.http.fields import MAX_SAFE_INTEGER, check_json_object

#: What is read of a result to be kept: levels, values, and characters of what is too large to be kept as it is.
MAX_READ_DEPTH, MAX_READ_VALUES, MAX_TRUNCATED_TEXT_LENGTH = 32, 50_000, 30_000
#: Levels of `data`; what lies deeper is kept as JSON in a text.
MAX_STORED_DEPTH = 8
#: Characters of the result in the content, which is what is searched by meaning.
MAX_RESULT_EXCERPT_LENGTH = 4_000
MAX_ENTITY_CONTENT_LENGTH = 20_000
MAX_ENTITY_FIELDS, MAX_ENTITY_LINKS = 100, 2_000
# PostgreSQL writes 1e100 as a hundred and one digits.
MAX_STORED_FLOAT, MIN_STORED_FLOAT = 1e20, 1e-20


class KnownEntity(NamedTuple):
    """What is known of an entity before it is told again."""

    fields: Mapping[str, Any]
    type: str | None
    name: str | None


UNKNOWN_ENTITY = KnownEntity({}, None, None)


class StorableCopy:
    """A copy of any JSON that can be kept: texts without what cannot be stored, numbers that are not exact as texts.
    `cut` tells whether something was left out."""

    def __init__(self, value: Any) -> None:
        self.left, self.truncated = MAX_READ_VALUES, False
        self.value = self.of(value, 1)

    def of(self, value: Any, level: int) -> Any:
        self.left -= 1
        if isinstance(value, dict | list) and (level > MAX_READ_DEPTH or self.left < 0):
            self.truncated = True
            return "…"
        match value:
            case dict():
                return {
                    replace_unstorable(str(name)): self.of(each, level + 1) for name, each in self.first(value.items())
                }
            case list():
                return [self.of(each, level + 1) for each in self.first(value)]
            case str():
                return replace_unstorable(value)
        return to_exact_number(value)

    def first(self, values: Iterable) -> list:
        values = list(values)
        self.truncated = self.truncated or len(values) > max(self.left, 0)
        return values[: max(self.left, 0)]


def to_exact_number(value: Any) -> Any:
    """A number as it is, when every reader keeps it exactly; else as a text."""
    exact = not isinstance(value, float) or value == 0 or MIN_STORED_FLOAT < abs(value) < MAX_STORED_FLOAT
    if isinstance(value, int) and not isinstance(value, bool):
        exact = abs(value) <= MAX_SAFE_INTEGER
    return value if exact else str(value)


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def build_data(copy: StorableCopy) -> tuple[dict[str, Any], bool]:
    """`data` for a result, and whether it is a truncated text because the result is too large or too deep."""
    result = copy.value if isinstance(copy.value, dict) else {"result": copy.value}
    for data in () if copy.truncated else (result, flatten(result, MAX_STORED_DEPTH)):
        with suppress(ValueError):
            return check_json_object(data), False
    text = to_text(copy.value)
    return {"truncated": True, "characters": len(text), "text": text[:MAX_TRUNCATED_TEXT_LENGTH]}, True


def flatten(value: Any, levels: int) -> Any:
    """The same with what lies deeper written as JSON texts."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return to_text(value)
    if isinstance(value, list):
        return [flatten(each, levels - 1) for each in value]
    return {name: flatten(each, levels - 1) for name, each in value.items()}


def store_tool_result(namespace_id: int, said: ToolResultIn) -> dict[str, Any]:
    """ToolResultOut, in ten statements at most, however many entities there are."""
    copy, found = StorableCopy(said.result), extract_entities(said.result)
    data, truncated = build_data(copy)
    known = fetch_known_entities(namespace_id, said.user_id, found)
    told = [build_entity_memory(said, each, known.get(each.key, UNKNOWN_ENTITY)) for each in found.values()]
    memories = [build_result_memory(said, copy, data), *told]
    with transaction.atomic():
        ids, _ = add_many(namespace_id, memories)
        places = dict(zip(found, ids[1:], strict=True))
        produced = [NewRelationship(ids[0], pk, RelationshipType.PRODUCES) for pk in places.values()]
        upsert_relationships(namespace_id, said.user_id or "", [*produced, *build_relationships(found, places)])
        insert_pending(namespace_id, said.user_id or "", build_pending_relationships(found, places))
        rows = {row["id"]: to_memory_out(row) for row in Memory.objects.filter(pk__in=ids).values(*OUT_COLUMNS)}
    return {"memory": rows[ids[0]], "entities": [rows[pk] for pk in ids[1:]], "truncated": truncated}


def build_result_memory(said: ToolResultIn, copy: StorableCopy, data: Mapping[str, Any]) -> MemoryIn:
    """The same result of the same tool is the same memory; a long one is told apart by its digest."""
    text = to_text(copy.value)
    summary = said.summary or build_summary(MemoryType.TOOL_OUTPUT, wrap_in_object(copy.value), said.tool)
    more = (
        f"… {len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
        if len(text) > MAX_RESULT_EXCERPT_LENGTH
        else ""
    )
    return MemoryIn.model_construct(
        **copy_labels(said),
        content=f"{summary}\n{text[:MAX_RESULT_EXCERPT_LENGTH]}{more}",
        summary=summary,
        data=dict(data),
        metadata={**said.metadata, "tool": said.tool},
        memory_type=MemoryType.TOOL_OUTPUT,
        source_system=said.tool,
        importance=said.importance,
        tags=said.tags,
        expires_at=said.expires_at,
    )


def wrap_in_object(value: Any) -> Any:
    return value if isinstance(value, dict) else {"result": value}


def build_entity_memory(said: ToolResultIn, entity: Entity, known: KnownEntity) -> MemoryIn:
    """The entity with all that is known of it, so that a bare mention takes nothing from its text. What was told just
    now stands first."""
    fields = merge_fields(known.fields, entity.fields)
    system, own = entity.key
    kind = known.type if known.type and entity.type in GENERIC_TYPES else entity.type
    name = entity.name or known.name
    title = f"{kind} {name or own}"
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return MemoryIn.model_construct(
        **copy_labels(said),
        content="\n".join([f"{title} ({system} {own})", *lines])[:MAX_ENTITY_CONTENT_LENGTH],
        summary=build_summary(MemoryType.DOMAIN_ENTITY, {"entity_data": fields}, title),
        data={"entity_data": fields},
        memory_type=MemoryType.DOMAIN_ENTITY,
        source_system=system,
        entity=EntityIn.model_construct(system=system, id=own, type=kind, name=name),
    )


def merge_fields(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the newer value of the same field; no field is added to those that are very many."""
    room = max(MAX_ENTITY_FIELDS - len(known), 0)
    added = [name for name in told if name not in known][:room]
    newer = {name: told[name] for name in told if name in known or name in added}
    return {**newer, **{name: known[name] for name in known if name not in newer}}


def copy_labels(said: ToolResultIn) -> dict[str, Any]:
    labels = ("user_id", "agent_id", "workflow_id", "repo_id", "session_id")
    return {name: getattr(said, name) for name in labels}


def fetch_known_entities(
    namespace_id: int, user_id: str | None, found: Mapping[EntityRef, Entity]
) -> dict[EntityRef, KnownEntity]:
    """What is known of these entities already."""
    if not found:
        return {}
    mine = Memory.objects.in_namespace(namespace_id).filter(user_id=user_id)
    wanted = Q(entity_system__in={system for system, _ in found}, entity_id__in={own for _, own in found})
    columns = ("entity_system", "entity_id", "entity_type", "entity_name", "data__entity_data")
    rows = mine.filter(wanted).values_list(*columns)
    return {
        tuple(key): KnownEntity(data if isinstance(data, dict) else {}, kind, name) for *key, kind, name, data in rows
    }


def build_relationships(found: Mapping[EntityRef, Entity], places: Mapping[EntityRef, Any]) -> list[NewRelationship]:
    """Between two entities of this result."""
    return [
        NewRelationship(places[link.start], places[link.end], link.type)
        for link in collect_links(found)
        if link.start in places and link.end in places
    ]


def build_pending_relationships(
    found: Mapping[EntityRef, Entity], places: Mapping[EntityRef, Any]
) -> list[NewPendingRelationship]:
    """To those that are not in it."""
    return [
        NewPendingRelationship(places[link.start], *link.end, link.type, False)
        if link.start in places
        else NewPendingRelationship(places[link.end], *link.start, link.type, True)
        for link in collect_links(found)
        if (link.start in places) != (link.end in places)
    ]


def collect_links(found: Mapping[EntityRef, Entity]) -> list:
    every = dict.fromkeys(link for entity in found.values() for link in entity.links if link.start != link.end)
    return list(every)[:MAX_ENTITY_LINKS]
