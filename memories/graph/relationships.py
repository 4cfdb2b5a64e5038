"""The SQL of relationships: between memories, to entities that are known, and to entities that are not known yet.

The API upserts one relationship with what its request says; tool results upsert many with the default values.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable
from pydantic_core import to_json

from memories.graph.models import PendingRelationship, Relationship
from memories.states import alive_sql
from memory_site.core.db.ids import uuid7
from memory_site.core.db.locks import set_lock_timeout

#: The system and the id of an entity.
EntityRef = tuple[str, str]


class UpsertedRelationship(NamedTuple):
    relationship: Relationship
    is_new: bool


class NewRelationship(NamedTuple):
    """A relationship between two memories of one user."""

    start: UUID
    finish: UUID
    type: str


class NewPendingRelationship(NamedTuple):
    """A relationship from a memory to an entity of the same user, or with `reverse` from the entity to the memory."""

    memory: UUID
    system: str
    entity: str
    type: str
    reverse: bool


START_CONDITION_SQL = f"start.namespace_id = %(namespace)s AND start.id = %(start)s::uuid AND {alive_sql('start')}"
# Both moments are those of the statement: behind ON CONFLICT stands nothing but the row's own values.
RELATIONSHIP_COLUMNS_SQL = "type, strength, metadata, created_at, updated_at"
RELATIONSHIP_VALUES_SQL = """%(type)s::text, coalesce(%(strength)s::float8, 1), coalesce(%(metadata)s::jsonb, '{}'),
    statement_timestamp(), statement_timestamp()"""


def build_upsert_sql(finish_condition: str) -> str:
    """Build the statement that relates `start` to the memory `finish` that meets the condition.

    It locks both rows, so that neither can be deleted before the relationship is inserted.
    """
    return f"""
WITH ends AS (
    SELECT start.namespace_id, start.owner, start.id AS start, finish.id AS finish
    FROM memories_memory start
    JOIN memories_memory finish ON finish.namespace_id = start.namespace_id AND finish.owner = start.owner
    WHERE {START_CONDITION_SQL} AND {finish_condition}
      AND finish.id <> start.id AND {alive_sql("finish")}
    FOR KEY SHARE OF start, finish
)
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, {RELATIONSHIP_COLUMNS_SQL})
SELECT %(id)s, namespace_id, owner, start, finish, {RELATIONSHIP_VALUES_SQL} FROM ends
ON CONFLICT (namespace_id, from_memory_id, to_memory_id, type) """


UPSERT_TO_MEMORY_SQL = build_upsert_sql("finish.id = %(to_id)s::uuid")
# Entities without a user have an index of their own, which an IS NOT DISTINCT FROM would not use.
UPSERT_TO_ENTITY_SQL = build_upsert_sql(
    """finish.entity_system = %(system)s::text AND finish.entity_id = %(entity_id)s::text
    AND (finish.user_id = start.user_id OR (start.user_id IS NULL AND finish.user_id IS NULL))"""
)
UPSERT_PENDING_SQL = f"""
WITH beginning AS (
    SELECT namespace_id, owner, id FROM memories_memory start
    WHERE {START_CONDITION_SQL} AND (entity_system, entity_id) IS DISTINCT FROM (%(system)s::text, %(entity_id)s::text)
    FOR KEY SHARE
)
INSERT INTO graph_pendingrelationship AS kept
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, {RELATIONSHIP_COLUMNS_SQL})
SELECT %(id)s, namespace_id, owner, id, %(system)s::text, %(entity_id)s::text, false, {RELATIONSHIP_VALUES_SQL}
FROM beginning
ON CONFLICT (namespace_id, from_memory_id, entity_system, entity_id, type, reverse) """
# Sorted, so that two transactions with the same relationships wait for each other and never deadlock.
UPSERT_RELATIONSHIPS_SQL = f"""
INSERT INTO graph_relationship AS kept
    (id, namespace_id, owner, from_memory_id, to_memory_id, {RELATIONSHIP_COLUMNS_SQL})
SELECT id, %(namespace)s, %(owner)s, start, finish, type, 1, '{{}}', statement_timestamp(), statement_timestamp()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS given (id uuid, start uuid, finish uuid, type text)
WHERE start <> finish ORDER BY start, finish, type
ON CONFLICT (namespace_id, from_memory_id, to_memory_id, type) DO UPDATE
SET updated_at = greatest(kept.updated_at, excluded.updated_at)
"""
# A trigger resolves those whose entity exists. It takes no locks for that: a transaction that stores thousands of
# entities would block others until its end.
INSERT_PENDING_SQL = """
INSERT INTO graph_pendingrelationship
    (id, namespace_id, owner, from_memory_id, entity_system, entity_id, reverse, type, strength, metadata)
SELECT id, %(namespace)s, %(owner)s, memory, system, entity, reverse, type, 1, '{}'
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS given (id uuid, memory uuid, system text, entity text, type text, reverse boolean)
ORDER BY memory, system, entity, type
ON CONFLICT (namespace_id, from_memory_id, entity_system, entity_id, type, reverse) DO NOTHING
"""
# Grouped by user, so that locked rows of one user do not delay the others.
SELECT_MISSED_ENTITIES_SQL = """
WITH missed AS (
    SELECT pending.owner, (
        SELECT entity.id FROM memories_memory entity
        WHERE entity.namespace_id = %(namespace)s
          AND (entity.user_id = pending.owner OR (pending.owner = '' AND entity.user_id IS NULL))
          AND entity.entity_system = pending.entity_system AND entity.entity_id = pending.entity_id
          AND (entity.expires_at IS NULL OR entity.expires_at > statement_timestamp())
    ) AS entity
    FROM graph_pendingrelationship pending WHERE pending.namespace_id = %(namespace)s
)
SELECT array_agg(DISTINCT entity) FROM missed WHERE entity IS NOT NULL GROUP BY owner
"""
RESOLVE_PENDING_SQL = "SELECT graph_resolve_pending(%s, %s)"
MAX_LOCK_WAIT_SECONDS = 1
LOCK_ERRORS = (LockNotAvailable, DeadlockDetected)


def upsert_to_memory(
    namespace_id: int, start: UUID, to_id: UUID, columns: dict[str, Any]
) -> UpsertedRelationship | None:
    """Relate two memories. Return None when they are not two memories of one user of this namespace.

    `columns` are `type`, `strength` and `metadata` (as JSON); None is the default of a new relationship, and leaves an
    old one unchanged. One statement.
    """
    parameters = {"namespace": namespace_id, "start": start, "to_id": to_id, **columns}
    return fetch_upserted(UPSERT_TO_MEMORY_SQL, parameters)


def upsert_to_entity(
    namespace_id: int, start: UUID, entity: EntityRef, columns: dict[str, Any]
) -> UpsertedRelationship | None:
    """Do the same with the memory of the user's entity, if there is one."""
    system, entity_id = entity
    parameters = {"namespace": namespace_id, "start": start, "system": system, "entity_id": entity_id, **columns}
    return fetch_upserted(UPSERT_TO_ENTITY_SQL, parameters)


def build_update_sql(columns: dict[str, Any]) -> str:
    """Build the end of a statement on a row that exists. Values that the request does not give stay as they are."""
    given = "".join(f"{name} = excluded.{name}, " for name in ("strength", "metadata") if columns[name] is not None)
    return f"DO UPDATE SET {given}updated_at = greatest(kept.updated_at, excluded.updated_at) RETURNING *"


def fetch_upserted(sql: str, parameters: dict[str, Any]) -> UpsertedRelationship | None:
    new_id = uuid7()
    for row in Relationship.objects.raw(sql + build_update_sql(parameters), parameters | {"id": new_id}):
        return UpsertedRelationship(row, row.pk == new_id)
    return None


def upsert_pending(
    namespace_id: int, start: UUID, entity: EntityRef, columns: dict[str, Any]
) -> PendingRelationship | None:
    """Store a relationship to an entity that is not known yet. Return None when `start` is not a memory of this
    namespace, or is the entity itself. One statement."""
    system, entity_id = entity
    parameters = {"namespace": namespace_id, "start": start, "system": system, "entity_id": entity_id, **columns}
    sql = UPSERT_PENDING_SQL + build_update_sql(columns)
    return next(iter(PendingRelationship.objects.raw(sql, parameters | {"id": uuid7()})), None)


def upsert_relationships(namespace_id: int, owner: str, relationships: Iterable[NewRelationship]) -> None:
    """Insert new relationships, and set `updated_at` of the others. One statement."""
    execute_for_rows(UPSERT_RELATIONSHIPS_SQL, namespace_id, owner, relationships)


def insert_pending(namespace_id: int, owner: str, relationships: Iterable[NewPendingRelationship]) -> None:
    """Insert relationships that a trigger resolves when their entity exists, which may be now. One statement.

    `resolve_missed` resolves those whose entity is stored at the same moment.
    """
    execute_for_rows(INSERT_PENDING_SQL, namespace_id, owner, relationships)


def execute_for_rows(
    sql: str, namespace_id: int, owner: str, relationships: Iterable[NewRelationship | NewPendingRelationship]
) -> None:
    rows = [{"id": uuid7(), **each._asdict()} for each in dict.fromkeys(relationships)]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"namespace": namespace_id, "owner": owner, "rows": to_json(rows).decode()})


def resolve_missed(namespace_id: int) -> int:
    """Resolve a namespace's pending relationships whose entity exists: concurrent transactions do not see each other's
    rows.

    Return for how many users. Locked rows of a user are left for the next call.
    """
    with connection.cursor() as cursor:
        cursor.execute(SELECT_MISSED_ENTITIES_SQL, {"namespace": namespace_id})
        return sum(resolve_pending(namespace_id, entities) for (entities,) in cursor.fetchall())


def resolve_pending(namespace_id: int, entities: list[UUID]) -> bool:
    """Resolve the relationships to these entities of a namespace.

    Return False when the rows stay locked for MAX_LOCK_WAIT_SECONDS.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            set_lock_timeout(MAX_LOCK_WAIT_SECONDS)
            cursor.execute(RESOLVE_PENDING_SQL, [namespace_id, entities])
    except OperationalError as error:
        if not isinstance(error.__cause__, LOCK_ERRORS):
            raise
        return False
    return True
