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
from memories.graph.relationships import Relation, Waiting, relate, wait_for
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, EntityIn, MemoryIn, memory_out
from memories.summaries import summary_of
from memories.tool_results.extract import GUESSED, Entity, Key, clean, entities_in
from memories.tool_results.schemas import ToolResultIn
from memories.types import MemoryType
from memory_site.core.http.fields import LARGEST_INTEGER, bounded_object

#: What is read of a result to be kept: levels, values, and characters of what is too large to be kept as it is.
LEVELS, VALUES, TEXT = 32, 50_000, 30_000
#: Levels of `data`; what lies deeper is kept as JSON in a text.
LEVELS_KEPT = 8
#: Characters of the result in the content, which is what is searched by meaning.
SHOWN = 4_000
LONGEST = 20_000
ENTITY_FIELDS, LINKS = 100, 2_000
# PostgreSQL writes 1e100 as a hundred and one digits.
LARGEST_FLOAT, SMALLEST_FLOAT = 1e20, 1e-20


class Known(NamedTuple):
    """What is known of an entity before it is told again."""

    fields: Mapping[str, Any]
    type: str | None
    name: str | None


UNKNOWN = Known({}, None, None)


class Copy:
    """A copy of any JSON that can be kept: texts without what cannot be stored, numbers that are not exact as texts.
    `cut` tells whether something was left out."""

    def __init__(self, value: Any) -> None:
        self.left, self.cut = VALUES, False
        self.value = self.of(value, 1)

    def of(self, value: Any, level: int) -> Any:
        self.left -= 1
        if isinstance(value, dict | list) and (level > LEVELS or self.left < 0):
            self.cut = True
            return "…"
        match value:
            case dict():
                return {clean(str(name)): self.of(each, level + 1) for name, each in self.first(value.items())}
            case list():
                return [self.of(each, level + 1) for each in self.first(value)]
            case str():
                return clean(value)
        return number(value)

    def first(self, values: Iterable) -> list:
        values = list(values)
        self.cut = self.cut or len(values) > max(self.left, 0)
        return values[: max(self.left, 0)]


def number(value: Any) -> Any:
    """A number as it is, when every reader keeps it exactly; else as a text."""
    exact = not isinstance(value, float) or value == 0 or SMALLEST_FLOAT < abs(value) < LARGEST_FLOAT
    if isinstance(value, int) and not isinstance(value, bool):
        exact = abs(value) <= LARGEST_INTEGER
    return value if exact else str(value)


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def kept(copy: Copy) -> tuple[dict[str, Any], bool]:
    """`data` for a result, and whether it is a truncated text because the result is too large or too deep."""
    result = copy.value if isinstance(copy.value, dict) else {"result": copy.value}
    for data in () if copy.cut else (result, flat(result, LEVELS_KEPT)):
        with suppress(ValueError):
            return bounded_object(data), False
    text = written(copy.value)
    return {"truncated": True, "characters": len(text), "text": text[:TEXT]}, True


def flat(value: Any, levels: int) -> Any:
    """The same with what lies deeper written as JSON texts."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return written(value)
    if isinstance(value, list):
        return [flat(each, levels - 1) for each in value]
    return {name: flat(each, levels - 1) for name, each in value.items()}


def keep(namespace_id: int, said: ToolResultIn) -> dict[str, Any]:
    """ToolResultOut, in ten statements at most, however many entities there are."""
    copy, found = Copy(said.result), entities_in(said.result)
    data, truncated = kept(copy)
    known = known_entities(namespace_id, said.user_id, found)
    told = [described(said, each, known.get(each.key, UNKNOWN)) for each in found.values()]
    memories = [output(said, copy, data), *told]
    with transaction.atomic():
        ids, _ = add_many(namespace_id, memories)
        places = dict(zip(found, ids[1:], strict=True))
        produced = [Relation(ids[0], pk, RelationshipType.PRODUCES) for pk in places.values()]
        relate(namespace_id, said.user_id or "", [*produced, *relations(found, places)])
        wait_for(namespace_id, said.user_id or "", waiting(found, places))
        rows = {row["id"]: memory_out(row) for row in Memory.objects.filter(pk__in=ids).values(*OUT_COLUMNS)}
    return {"memory": rows[ids[0]], "entities": [rows[pk] for pk in ids[1:]], "truncated": truncated}


def output(said: ToolResultIn, copy: Copy, data: Mapping[str, Any]) -> MemoryIn:
    """The same result of the same tool is the same memory; a long one is told apart by its digest."""
    text = written(copy.value)
    summary = said.summary or summary_of(MemoryType.TOOL_OUTPUT, shown(copy.value), said.tool)
    more = f"… {len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}" if len(text) > SHOWN else ""
    return MemoryIn.model_construct(
        **common(said),
        content=f"{summary}\n{text[:SHOWN]}{more}",
        summary=summary,
        data=dict(data),
        metadata={**said.metadata, "tool": said.tool},
        memory_type=MemoryType.TOOL_OUTPUT,
        source_system=said.tool,
        importance=said.importance,
        tags=said.tags,
        expires_at=said.expires_at,
    )


def shown(value: Any) -> Any:
    return value if isinstance(value, dict) else {"result": value}


def described(said: ToolResultIn, entity: Entity, known: Known) -> MemoryIn:
    """The entity with all that is known of it, so that a bare mention takes nothing from its text. What was told just
    now stands first."""
    fields = bounded(known.fields, entity.fields)
    system, own = entity.key
    kind = known.type if known.type and entity.type in GUESSED else entity.type
    name = entity.name or known.name
    title = f"{kind} {name or own}"
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return MemoryIn.model_construct(
        **common(said),
        content="\n".join([f"{title} ({system} {own})", *lines])[:LONGEST],
        summary=summary_of(MemoryType.DOMAIN_ENTITY, {"entity_data": fields}, title),
        data={"entity_data": fields},
        memory_type=MemoryType.DOMAIN_ENTITY,
        source_system=system,
        entity=EntityIn.model_construct(system=system, id=own, type=kind, name=name),
    )


def bounded(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the newer value of the same field; no field is added to those that are very many."""
    room = max(ENTITY_FIELDS - len(known), 0)
    added = [name for name in told if name not in known][:room]
    newer = {name: told[name] for name in told if name in known or name in added}
    return {**newer, **{name: known[name] for name in known if name not in newer}}


def common(said: ToolResultIn) -> dict[str, Any]:
    labels = ("user_id", "agent_id", "workflow_id", "repo_id", "session_id")
    return {name: getattr(said, name) for name in labels}


def known_entities(namespace_id: int, user_id: str | None, found: Mapping[Key, Entity]) -> dict[Key, Known]:
    """What is known of these entities already."""
    if not found:
        return {}
    mine = Memory.objects.in_namespace(namespace_id).filter(user_id=user_id)
    wanted = Q(entity_system__in={system for system, _ in found}, entity_id__in={own for _, own in found})
    columns = ("entity_system", "entity_id", "entity_type", "entity_name", "data__entity_data")
    rows = mine.filter(wanted).values_list(*columns)
    return {tuple(key): Known(data if isinstance(data, dict) else {}, kind, name) for *key, kind, name, data in rows}


def relations(found: Mapping[Key, Entity], places: Mapping[Key, Any]) -> list[Relation]:
    """Between two entities of this result."""
    return [
        Relation(places[link.start], places[link.end], link.type)
        for link in links(found)
        if link.start in places and link.end in places
    ]


def waiting(found: Mapping[Key, Entity], places: Mapping[Key, Any]) -> list[Waiting]:
    """To those that are not in it."""
    return [
        Waiting(places[link.start], *link.end, link.type, False)
        if link.start in places
        else Waiting(places[link.end], *link.start, link.type, True)
        for link in links(found)
        if (link.start in places) != (link.end in places)
    ]


def links(found: Mapping[Key, Entity]) -> list:
    every = dict.fromkeys(link for entity in found.values() for link in entity.links if link.start != link.end)
    return list(every)[:LINKS]
