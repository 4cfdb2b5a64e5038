"""Many relationships at once: those between memories that are there, and those to entities that may not be."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from pydantic_core import to_json

from memory_site.ids import uuid7


class Relation(NamedTuple):
    """Between two memories of one user."""

    start: UUID
    finish: UUID
    type: str


class Waiting(NamedTuple):
    """From a memory to an entity of the same user; `reverse` when the entity is where it begins."""

    memory: UUID
    system: str
    entity: str
    type: str
    reverse: bool


# In one order, so that two who say the same wait for each other and never lock each other out.
RELATE = """
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
SELECT id, %(namespace)s, %(owner)s, start, finish, type, 1, '{}'
FROM jsonb_to_recordset(%(rows)s::jsonb) AS said (id uuid, start uuid, finish uuid, type text)
WHERE start <> finish ORDER BY start, finish, type
ON CONFLICT (from_memory_id, to_memory_id, type) DO UPDATE
SET updated_at = greatest(kept.updated_at, clock_timestamp())
"""
# A trigger makes those at once whose entity is there.
WAIT = """
INSERT INTO graph_pendingrelationship
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, type, strength, metadata)
SELECT id, %(namespace)s, %(owner)s, memory, system, entity, reverse, type, 1, '{}'
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS said (id uuid, memory uuid, system text, entity text, type text, reverse boolean)
ORDER BY memory, system, entity, type
ON CONFLICT (from_memory_id, entity_system, entity_id, type, reverse) DO NOTHING
"""


def relate(namespace_id: int, owner: str, relations: Iterable[Relation]) -> None:
    """Make them, or note that they were said again. One statement."""
    write(RELATE, namespace_id, owner, relations)


def wait_for(namespace_id: int, owner: str, waiting: Iterable[Waiting]) -> None:
    """Make them as soon as their entity is there, which may be now. One statement."""
    write(WAIT, namespace_id, owner, waiting)


def write(sql: str, namespace_id: int, owner: str, said: Iterable[Any]) -> None:
    rows = [{"id": uuid7(), **each._asdict()} for each in dict.fromkeys(said)]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"namespace": namespace_id, "owner": owner, "rows": to_json(rows).decode()})
