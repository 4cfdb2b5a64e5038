"""Insert memories, or merge them into the same ones: one statement for one or a thousand.

This module does not extract insights; `memories.add` does.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Greatest, Now
from pydantic_core import to_json

from memories.active_model import model_for_supplied_vector
from memories.memory_types import Importance
from memories.models import Embedding, Memory
from memories.schemas import OUT_COLUMNS, MemoryIn, qualify_out_columns
from memories.states import REACTIVATE_SQL
from memory_site.core.db.actor import ACTOR_SQL, get_actor_parameters, without_history
from memory_site.core.db.ids import uuid7
from memory_site.core.errors import Conflict, InvalidField
from memory_site.core.metrics.counters import count_stored
from sessions_app.models.conversations import Role

# One JSON parameter carries any number of rows. The types are those of the table's columns.
DRAFT_COLUMN_TYPES = {
    "id": "uuid", "content": "text", "summary": "text", "data": "jsonb", "metadata": "jsonb", "memory_type": "text",
    "source_system": "text", "user_id": "text", "agent_id": "text", "workflow_id": "text", "repo_id": "text",
    "session_id": "text", "importance": "smallint", "confidence": "float8", "tags": "text[]", "key": "text",
    "entity_system": "text", "entity_id": "text", "entity_type": "text", "entity_name": "text",
    "created_at": "timestamptz", "updated_at": "timestamptz", "expires_at": "timestamptz", "document_id": "uuid",
    "base_relevance": "float8", "revision": "bigint",
}  # fmt: skip
#: The same text said by one of these is another memory; a text without a role counts as the user's.
OTHER_ROLES = frozenset(Role.values) - {Role.USER}
# A value equal to its default may not have been given in the request, so it never replaces a stored one.
DEFAULT_IMPORTANCE = Importance.MEDIUM.value
# Storing a memory again keeps what the row has and adds what is new.
MERGE_ASSIGNMENTS = f"""
    updated_at = excluded.updated_at,
    summary = coalesce(excluded.summary, stored.summary),
    metadata = stored.metadata || excluded.metadata,
    tags = stored.tags || ARRAY(SELECT unnest(excluded.tags) EXCEPT SELECT unnest(stored.tags)),
    agent_id = coalesce(stored.agent_id, excluded.agent_id),
    workflow_id = coalesce(stored.workflow_id, excluded.workflow_id),
    repo_id = coalesce(stored.repo_id, excluded.repo_id),
    session_id = coalesce(stored.session_id, excluded.session_id),
    importance = CASE WHEN excluded.importance = {DEFAULT_IMPORTANCE} THEN stored.importance
                 ELSE greatest(stored.importance, excluded.importance) END,
    confidence = CASE WHEN excluded.confidence = 1 THEN stored.confidence
                 ELSE greatest(stored.confidence, excluded.confidence) END,
    base_relevance = CASE WHEN excluded.base_relevance = 1 THEN stored.base_relevance
                     ELSE excluded.base_relevance END,
    expires_at = CASE WHEN stored.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                 ELSE greatest(stored.expires_at, excluded.expires_at) END,
    {REACTIVATE_SQL.format(row="stored")}"""
ON_SAME_CONTENT = f"""
(namespace_id, memory_type, user_id, content_hash, document_id, memories_role(metadata))
WHERE entity_id IS NULL AND key IS NULL
DO UPDATE SET {MERGE_ASSIGNMENTS},
    data = coalesce(stored.data || excluded.data, stored.data, excluded.data)"""
# jsonb_build_object, which is only STABLE, may not stand behind ON CONFLICT where tables are distributed.
EMPTY_ENTITY_SQL = """'{"entity_data": {}}'::jsonb"""
# An entity changes, so its new content replaces the old one; the object `entity_data` is merged field by field.
ON_SAME_ENTITY = f"""(namespace_id, user_id, entity_system, entity_id) WHERE entity_id IS NOT NULL
DO UPDATE SET {MERGE_ASSIGNMENTS},
    content = excluded.content,
    entity_type = coalesce(excluded.entity_type, stored.entity_type),
    entity_name = coalesce(excluded.entity_name, stored.entity_name),
    update_count = stored.update_count + 1,
    last_updated = excluded.updated_at,
    data = coalesce(stored.data || excluded.data, stored.data, excluded.data)
        || CASE WHEN jsonb_typeof(stored.data -> 'entity_data') = 'object'
                 AND jsonb_typeof(excluded.data -> 'entity_data') = 'object'
           THEN jsonb_set({EMPTY_ENTITY_SQL}, '{{entity_data}}',
                          (stored.data -> 'entity_data') || (excluded.data -> 'entity_data'))
           ELSE '{{}}' END"""
# A memory with a key is replaced as a whole: what stays is its id, when it was created, and how it was used.
REPLACED_COLUMNS = (
    "content", "summary", "data", "metadata", "memory_type", "source_system", "agent_id", "workflow_id", "repo_id",
    "session_id", "importance", "confidence", "tags", "updated_at", "expires_at", "base_relevance",
)  # fmt: skip
ON_SAME_KEY = f"""(namespace_id, user_id, key) WHERE key IS NOT NULL
DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in REPLACED_COLUMNS)},
    {REACTIVATE_SQL.format(row="stored")}"""
INSERT_DRAFTS_SQL = f"""
INSERT INTO memories_memory AS stored (namespace_id, {", ".join(DRAFT_COLUMN_TYPES)}, access_count)
SELECT %(namespace)s, {", ".join(DRAFT_COLUMN_TYPES)}, 0
FROM jsonb_to_recordset(%(drafts)s::jsonb)
     AS draft({", ".join(f"{name} {kind}" for name, kind in DRAFT_COLUMN_TYPES.items())}), {ACTOR_SQL}
ON CONFLICT """
# An expired duplicate is invisible to readers, so it is not updated: the row is missing from the result, and the caller
# deletes expired memories and tries again.
IF_NOT_EXPIRED = """
WHERE stored.expires_at IS NULL OR stored.expires_at > excluded.updated_at
RETURNING """
UPSERTS = {
    kind: INSERT_DRAFTS_SQL + conflict + IF_NOT_EXPIRED
    for kind, conflict in (("content", ON_SAME_CONTENT), ("entity", ON_SAME_ENTITY), ("key", ON_SAME_KEY))
}
ID_COLUMNS = "id, revision, memory_type, user_id, content_hash, memories_role(metadata), entity_system, entity_id, key"
# A whole row, with the queue's row as it was before the statement. Where tables are distributed, this reads the queue's
# row as it is after it.
STORED_ROWS_SQL = f"""
WITH stored AS ({{upsert}} {", ".join(OUT_COLUMNS[:-1])}, content_hash)
SELECT {qualify_out_columns("stored")}, {{became_due}} FROM stored
"""
# Whether the queue has a row since the statement: the memory was superseded before, or has another content, which one
# with a key and an entity can have.
BECAME_DUE_SQL = """NOT coalesce((
    SELECT {unchanged} FROM memories_memory earlier
    WHERE earlier.namespace_id = %(namespace)s AND earlier.id = stored.id
), true)"""
SAME_STATE_SQL, SAME_CONTENT_SQL = "earlier.state = stored.state", "earlier.content_hash = stored.content_hash"
UNCHANGED_SQL = {"content": SAME_STATE_SQL} | dict.fromkeys(
    ("entity", "key"), f"{SAME_STATE_SQL} AND {SAME_CONTENT_SQL}"
)
UPSERT_SQL = {kind: upsert + ID_COLUMNS for kind, upsert in UPSERTS.items()}
UPSERT_ONE_SQL = {
    kind: STORED_ROWS_SQL.format(upsert=upsert, became_due=BECAME_DUE_SQL.format(unchanged=UNCHANGED_SQL[kind]))
    for kind, upsert in UPSERTS.items()
}

# Different versions of one memory in a request: each costs one more statement.
MAX_DUPLICATES_PER_REQUEST = 20
# Drafts with the same content that are equal in these columns count as repeats.
UNCOMPARED_COLUMNS = {"id", "content", "created_at", "updated_at", "revision"}
COMPARED_COLUMNS = [name for name in DRAFT_COLUMN_TYPES if name not in UNCOMPARED_COLUMNS]

# What identifies a memory in its namespace: the kind of identity and the user, with the key, or with system and id of
# the entity, or with type, role and SHA-256 of the content.
Identity = tuple[str, str, str, bytes | str]


@dataclass(slots=True)
class Draft:
    """A memory to insert; `digest` is the SHA-256 of its content. The caller may have made its id."""

    columns: dict[str, Any]
    vector: list[float] | None
    digest: bytes
    identity: Identity
    has_own_id: bool

    @property
    def kind(self) -> str:
        return self.identity[0]

    def is_stored_as(self, pk: UUID, revision: int) -> bool:
        """Return whether the row with this id and revision was inserted from the draft."""
        return (pk, revision) == (self.columns["id"], self.columns["revision"])


def make_draft(memory: MemoryIn, document_id: UUID | None = None) -> Draft:
    columns, now = memory.columns(), datetime.now(UTC)
    vector = columns.pop("vector")
    columns |= {
        "id": memory.id or uuid7(),
        "created_at": columns["created_at"] or now,
        "updated_at": now,
        "document_id": document_id,
        "revision": int(now.timestamp() * 1_000_000),
    }
    digest = hashlib.sha256(memory.content.encode()).digest()
    kind, role, entity = str(memory.memory_type), get_role(memory.metadata), columns["entity_id"]
    identity = make_identity(kind, memory.user_id, digest, role, columns["entity_system"], entity, memory.key)
    return Draft(columns, vector, digest, identity, memory.id is not None)


def get_role(metadata: dict[str, Any]) -> str | None:
    """Return who said it, unless that was the user: what `memories_role` returns in the database."""
    role = metadata.get("role")
    return role if isinstance(role, str) and role in OTHER_ROLES else None


def make_identity(
    kind: str,
    user: str | None,
    digest: bytes,
    role: str | None,
    system: str | None,
    entity_id: str | None,
    key: str | None,
) -> Identity:
    owner = "" if user is None else f"of {user}"
    if key is not None:
        return "key", owner, key, ""
    if entity_id is None or system is None:  # a constraint: both are given, or none
        return "content", owner, kind if role is None else f"{kind} by {role}", bytes(digest)
    return "entity", owner, system, entity_id


def insert_memory(namespace_id: int, memory: MemoryIn, active_model: str | None = None) -> tuple[dict[str, Any], bool]:
    """Insert one memory or merge it into the same one. Return its row (OUT_COLUMNS) and whether it is new.

    One statement, and one more for a supplied vector, which is stored under the namespace's model `active_model` (None:
    look it up). Raises Conflict if the memory's own id is not that of the row, or IntegrityError if another memory has
    that id.
    """
    draft = make_draft(memory)
    with transaction.atomic() if draft.has_own_id or draft.vector is not None else nullcontext():
        while not (rows := execute_upsert(namespace_id, [draft], UPSERT_ONE_SQL)):
            purge_expired(namespace_id)
        *values, became_due = rows[0]
        check_own_ids([memory], [values[0]])
        write_vectors(namespace_id, [(values[0], draft)], active_model)
    row = row_to_dict(values)
    is_new = draft.is_stored_as(row["id"], row["revision"])
    if is_new or became_due or draft.vector is not None:  # the queue's row may be that of before the statement
        row["due__due_at"] = row["updated_at"] if draft.vector is None else None
    count_stored(is_new, not is_new)
    return row, is_new


def insert_memories(
    namespace_id: int, memories: Sequence[MemoryIn], active_model: str | None = None, document_id: UUID | None = None
) -> tuple[list[UUID], set[UUID]]:
    """Insert or merge all, or none. Return their ids in the order given, and which of them are new.

    Raises as `insert_memory` does.
    """
    drafts = [make_draft(memory, document_id) for memory in memories]
    ids: dict[Identity, UUID] = {}
    new: set[UUID] = set()
    with transaction.atomic():
        for batch in split_into_batches(drafts):
            stored = insert_batch(namespace_id, batch)
            ids |= {identity: pk for identity, (pk, _) in stored.items()}
            new |= {draft.columns["id"] for draft in batch if draft.is_stored_as(*stored[draft.identity])}
        check_own_ids(memories, [ids[draft.identity] for draft in drafts])
        write_vectors(namespace_id, [(ids[draft.identity], draft) for draft in drafts], active_model)
    count_stored(len(new), len(drafts) - len(new))
    return [ids[draft.identity] for draft in drafts], new


def insert_batch(namespace_id: int, drafts: list[Draft]) -> dict[Identity, tuple[UUID, int]]:
    """Insert drafts of different identities and one kind (see `execute_upsert`). Return their ids and revisions.

    Drafts that meet an expired duplicate are tried again after it is deleted.
    """
    stored = map_by_identity(execute_upsert(namespace_id, drafts))
    while missing := [draft for draft in drafts if draft.identity not in stored]:
        purge_expired(namespace_id)
        stored |= map_by_identity(execute_upsert(namespace_id, missing))
    return stored


def map_by_identity(rows: list[tuple]) -> dict[Identity, tuple[UUID, int]]:
    return {make_identity(*rest): (pk, revision) for pk, revision, *rest in rows}


def check_own_ids(memories: Sequence[MemoryIn], ids: Sequence[UUID]) -> None:
    """Raise Conflict if a memory with an id of its own was merged into another one. The caller's transaction ends."""
    for memory, pk in zip(memories, ids, strict=True):
        if memory.id not in (None, pk):
            raise Conflict(f"The memory {pk} is the same, and keeps its id.")


def purge_expired(namespace_id: int) -> bool:
    """Delete the memories of a namespace that are expired by the database's clock or by ours, of which an upsert reads
    one. Return whether there were any."""
    now = Greatest(Now(), Value(datetime.now(UTC)))
    with without_history():  # our clock may be ahead of the one that the trigger reads
        return bool(Memory.objects.filter(namespace_id=namespace_id, expires_at__lte=now).delete()[0])


def split_into_batches(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Split drafts into batches of different identities and one kind of identity: one statement cannot update a row
    twice, and has one conflict target. A draft that only repeats the one before it is dropped.

    Batches are sorted, so that two requests with the same contents lock rows in the same order and do not deadlock.
    Raises InvalidField when one identity comes with more than MAX_DUPLICATES_PER_REQUEST different values.
    """
    batches: dict[str, list[dict[Identity, Draft]]] = {kind: [] for kind in UPSERTS}
    previous = None
    for draft in sorted(drafts, key=lambda draft: draft.identity):
        compared = to_json([draft.digest.hex(), {key: draft.columns[key] for key in COMPARED_COLUMNS}])
        if compared != previous:
            add_to_batch(batches[draft.kind], draft)
        previous = compared
    return [list(batch.values()) for same_kind in batches.values() for batch in same_kind]


def add_to_batch(batches: list[dict[Identity, Draft]], draft: Draft) -> None:
    batch = next((batch for batch in batches if draft.identity not in batch), None)
    if batch is None:
        if len(batches) == MAX_DUPLICATES_PER_REQUEST:
            limit = f"at most {MAX_DUPLICATES_PER_REQUEST} different things of the same content, entity or key"
            raise InvalidField("memories", f"may say {limit}")
        batches.append(batch := {})
    batch[draft.identity] = draft


def write_vectors(namespace_id: int, drafts: list[tuple[UUID, Draft]], active_model: str | None) -> None:
    """Store the vectors that callers supplied."""
    supplied = {pk: (pk, draft.digest, draft.vector) for pk, draft in drafts if draft.vector is not None}
    if supplied:
        model = model_for_supplied_vector(namespace_id, active_model)
        Embedding.objects.write(namespace_id, model, list(supplied.values()))


def execute_upsert(namespace_id: int, drafts: list[Draft], sql: dict[str, str] = UPSERT_SQL) -> list[tuple]:
    """Insert or update the rows of drafts of one kind, by the statement for it.

    The same request may be under way already and have inserted an id, but not its key: then it is tried again.
    """
    if any(draft.has_own_id for draft in drafts):
        with suppress(IntegrityError), transaction.atomic():
            return execute_upsert_once(namespace_id, drafts, sql)
    return execute_upsert_once(namespace_id, drafts, sql)


def execute_upsert_once(namespace_id: int, drafts: list[Draft], sql: dict[str, str]) -> list[tuple]:
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "drafts": to_json([draft.columns for draft in drafts]).decode(),
        **get_actor_parameters(),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql[drafts[0].kind], parameters)
        return cursor.fetchall()


def row_to_dict(row: Sequence[Any]) -> dict[str, Any]:
    """Return a row of OUT_COLUMNS by name, with JSON decoded: on a bare cursor Django leaves jsonb as text."""
    result = dict(zip(OUT_COLUMNS, row, strict=False))
    for name in ("data", "metadata"):
        result[name] = json.loads(result[name]) if isinstance(result[name], str) else result[name]
    return result
