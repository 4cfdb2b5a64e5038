"""Many relationships at once: those between memories that are there, and those to entities that may not be."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable
from pydantic_core import to_json

from memory_site.core.db.ids import uuid7
from memory_site.core.db.locks import set_lock_timeout


class NewRelationship(NamedTuple):
    """Between two memories of one user."""

    start: UUID
    finish: UUID
    type: str


class NewPendingRelationship(NamedTuple):
    """From a memory to an entity of the same user; `reverse` when the entity is where it begins."""

    memory: UUID
    system: str
    entity: str
    type: str
    reverse: bool


# In one order, so that two who say the same wait for each other and never lock each other out.
UPSERT_RELATIONSHIPS_SQL = """
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
SELECT id, %(namespace)s, %(owner)s, start, finish, type, 1, '{}'
FROM jsonb_to_recordset(%(rows)s::jsonb) AS said (id uuid, start uuid, finish uuid, type text)
WHERE start <> finish ORDER BY start, finish, type
ON CONFLICT (from_memory_id, to_memory_id, type) DO UPDATE
SET updated_at = greatest(kept.updated_at, clock_timestamp())
"""
# A trigger makes those at once whose entity is there. No locks are taken for that: whoever stores thousands of entities
# in one transaction would keep others waiting until its end.
INSERT_PENDING_SQL = """
INSERT INTO graph_pendingrelationship
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, type, strength, metadata)
SELECT id, %(namespace)s, %(owner)s, memory, system, entity, reverse, type, 1, '{}'
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS said (id uuid, memory uuid, system text, entity text, type text, reverse boolean)
ORDER BY memory, system, entity, type
ON CONFLICT (from_memory_id, entity_system, entity_id, type, reverse) DO NOTHING
"""
# By user, so that one whose rows are held keeps nobody else waiting.
SELECT_MISSED_ENTITIES_SQL = """
WITH missed AS (
    SELECT waiting.namespace_id, waiting.owner, (
        SELECT entity.id FROM memories_memory entity
        WHERE entity.namespace_id = waiting.namespace_id
          AND (entity.user_id = waiting.owner OR (waiting.owner = '' AND entity.user_id IS NULL))
          AND entity.entity_system = waiting.entity_system AND entity.entity_id = waiting.entity_id
          AND (entity.expires_at IS NULL OR entity.expires_at > statement_timestamp())
    ) AS entity
    FROM graph_pendingrelationship waiting
)
SELECT array_agg(DISTINCT entity) FROM missed WHERE entity IS NOT NULL GROUP BY namespace_id, owner
"""
RESOLVE_PENDING_SQL = "SELECT graph_resolve_pending(%s)"
MAX_LOCK_WAIT_SECONDS = 1
LOCK_ERRORS = (LockNotAvailable, DeadlockDetected)


def upsert_relationships(namespace_id: int, owner: str, relations: Iterable[NewRelationship]) -> None:
    """Make them, or note that they were said again. One statement."""
    execute_for_rows(UPSERT_RELATIONSHIPS_SQL, namespace_id, owner, relations)


def insert_pending(namespace_id: int, owner: str, waiting: Iterable[NewPendingRelationship]) -> None:
    """Make them as soon as their entity is there, which may be now. One statement. What arrives in the same moment is
    made by `join_missed`."""
    execute_for_rows(INSERT_PENDING_SQL, namespace_id, owner, waiting)


def execute_for_rows(sql: str, namespace_id: int, owner: str, said: Iterable[Any]) -> None:
    rows = [{"id": uuid7(), **each._asdict()} for each in dict.fromkeys(said)]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"namespace": namespace_id, "owner": owner, "rows": to_json(rows).decode()})


def resolve_missed() -> int:
    """Make what still waits although its entity is there: neither of two transactions at the same time sees what the
    other one adds. For how many users; one whose rows are held is left for the next time."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_MISSED_ENTITIES_SQL)
        return sum(resolve_pending(entities) for (entities,) in cursor.fetchall())


def resolve_pending(entities: list[UUID]) -> bool:
    """Make what waits for these entities; not when somebody holds what that takes."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            set_lock_timeout(MAX_LOCK_WAIT_SECONDS)
            cursor.execute(RESOLVE_PENDING_SQL, [entities])
    except OperationalError as error:
        if not isinstance(error.__cause__, LOCK_ERRORS):
            raise
        return False
    return True
