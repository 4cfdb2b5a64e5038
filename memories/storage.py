"""Insert memories: one statement for one or a thousand, which says of each whether it was there already.

Nothing here looks for insights; `memories.add` does.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from pydantic_core import to_json

from memories.active_model import model_for_supplied_vector
from memories.models import Embedding, Memory
from memories.schemas import OUT_COLUMNS, MemoryIn, qualify_out_columns
from memories.types import Importance
from memory_site.core.db.ids import uuid7
from memory_site.core.errors import InvalidField

# One JSON parameter carries any number of rows; the types are those of the table's columns.
DRAFT_COLUMN_TYPES = {
    "id": "uuid", "content": "text", "summary": "text", "data": "jsonb", "metadata": "jsonb", "memory_type": "text",
    "source_system": "text", "user_id": "text", "agent_id": "text", "workflow_id": "text", "repo_id": "text",
    "session_id": "text", "importance": "smallint", "confidence": "float8", "tags": "text[]", "entity_system": "text",
    "entity_id": "text", "entity_type": "text", "entity_name": "text", "created_at": "timestamptz",
    "updated_at": "timestamptz", "expires_at": "timestamptz", "document_id": "uuid", "base_relevance": "float8",
}  # fmt: skip
# What a request does not say stands as its default here, and is no reason to change what was said before.
DEFAULT_IMPORTANCE = Importance.MEDIUM.value
# Told again, a memory keeps all that was known and takes over what is new.
MERGE_ASSIGNMENTS = f"""
    updated_at = excluded.updated_at,
    summary = coalesce(excluded.summary, kept.summary),
    metadata = kept.metadata || excluded.metadata,
    tags = kept.tags || ARRAY(SELECT unnest(excluded.tags) EXCEPT SELECT unnest(kept.tags)),
    agent_id = coalesce(kept.agent_id, excluded.agent_id),
    workflow_id = coalesce(kept.workflow_id, excluded.workflow_id),
    repo_id = coalesce(kept.repo_id, excluded.repo_id),
    session_id = coalesce(kept.session_id, excluded.session_id),
    importance = CASE WHEN excluded.importance = {DEFAULT_IMPORTANCE} THEN kept.importance
                 ELSE greatest(kept.importance, excluded.importance) END,
    confidence = CASE WHEN excluded.confidence = 1 THEN kept.confidence
                 ELSE greatest(kept.confidence, excluded.confidence) END,
    base_relevance = CASE WHEN excluded.base_relevance = 1 THEN kept.base_relevance
                     ELSE excluded.base_relevance END,
    expires_at = CASE WHEN kept.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                 ELSE greatest(kept.expires_at, excluded.expires_at) END"""
ON_SAME_CONTENT = f"""(namespace_id, memory_type, user_id, content_hash, document_id) WHERE entity_id IS NULL
DO UPDATE SET {MERGE_ASSIGNMENTS},
    data = coalesce(kept.data || excluded.data, kept.data, excluded.data)"""
# An entity changes: what is said of it now stands in place of what was, the object of its fields one by one.
ON_SAME_ENTITY = f"""(namespace_id, user_id, entity_system, entity_id) WHERE entity_id IS NOT NULL
DO UPDATE SET {MERGE_ASSIGNMENTS},
    content = excluded.content,
    entity_type = coalesce(excluded.entity_type, kept.entity_type),
    entity_name = coalesce(excluded.entity_name, kept.entity_name),
    update_count = kept.update_count + 1,
    last_updated = excluded.updated_at,
    data = coalesce(kept.data || excluded.data, kept.data, excluded.data)
        || CASE WHEN jsonb_typeof(kept.data -> 'entity_data') = 'object'
                 AND jsonb_typeof(excluded.data -> 'entity_data') = 'object'
           THEN jsonb_build_object('entity_data', (kept.data -> 'entity_data') || (excluded.data -> 'entity_data'))
           ELSE '{{}}' END"""
INSERT_DRAFTS_SQL = f"""
INSERT INTO memories_memory AS kept (namespace_id, {", ".join(DRAFT_COLUMN_TYPES)}, access_count)
SELECT %(namespace)s, {", ".join(DRAFT_COLUMN_TYPES)}, 0
FROM jsonb_to_recordset(%(drafts)s::jsonb) AS draft({", ".join(f"{name} {kind}" for name, kind in DRAFT_COLUMN_TYPES.items())})
ON CONFLICT """
# An expired twin is not there for anyone: it is left alone here, and its place is made free before the next try.
IF_NOT_EXPIRED = """
WHERE kept.expires_at IS NULL OR kept.expires_at > statement_timestamp()
RETURNING """
UPSERT_BY_CONTENT_SQL, UPSERT_BY_ENTITY_SQL = (
    INSERT_DRAFTS_SQL + twin + IF_NOT_EXPIRED for twin in (ON_SAME_CONTENT, ON_SAME_ENTITY)
)
ALL_COLUMNS = qualify_out_columns("kept")
# Whether the content is not the one that stood there before.
CONTENT_CHANGED = (
    ", kept.content_hash IS DISTINCT FROM (SELECT content_hash FROM memories_memory old WHERE old.id = kept.id)"
)
ID_COLUMNS = "id, memory_type, user_id, content_hash, entity_system, entity_id"

# Each is a statement of its own.
MAX_DUPLICATES_PER_REQUEST = 20
# What two drafts of the same memory may differ in, as far as it cares.
COMPARED_COLUMNS = [name for name in DRAFT_COLUMN_TYPES if name not in ("id", "content", "created_at", "updated_at")]

# What makes two memories of a namespace the same: the user with system and id of the entity, or with type and SHA-256
# of the content.
Identity = tuple[str, str, str, bytes | str]


@dataclass(slots=True)
class Draft:
    """A memory on its way into the table."""

    columns: dict[str, Any]
    vector: list[float] | None
    digest: bytes
    identity: Identity

    @property
    def is_entity(self) -> bool:
        return self.columns["entity_id"] is not None


def make_draft(memory: MemoryIn, document_id: UUID | None = None) -> Draft:
    columns, now = memory.columns(), datetime.now(UTC)
    vector = columns.pop("vector")
    columns |= {
        "id": uuid7(),
        "created_at": columns["created_at"] or now,
        "updated_at": now,
        "document_id": document_id,
    }
    digest = hashlib.sha256(memory.content.encode()).digest()
    parts = (str(memory.memory_type), memory.user_id, digest, columns["entity_system"], columns["entity_id"])
    return Draft(columns, vector, digest, make_identity(*parts))


def make_identity(kind: str, user: str | None, digest: bytes, system: str | None, entity_id: str | None) -> Identity:
    whose = "" if user is None else f"of {user}"
    return ("content", whose, kind, bytes(digest)) if entity_id is None else ("entity", whose, system, entity_id)


def insert_memory(namespace_id: int, memory: MemoryIn, serving: str | None = None) -> tuple[dict[str, Any], bool]:
    """Insert one memory or merge it into the same one: its row (OUT_COLUMNS), and whether it is new.

    One statement, and one more for a supplied vector, which counts as made by the model `serving` (None: look it up).
    """
    one = make_draft(memory)
    with nullcontext() if one.vector is None else transaction.atomic():
        while not (rows := execute_upsert(namespace_id, [one], ALL_COLUMNS + CONTENT_CHANGED)):
            purge_expired(namespace_id)
        *values, changed = rows[0]
        write_vectors(namespace_id, [(values[0], one)], serving)
    row = row_to_dict(values)
    if changed or one.vector is not None:  # the statement saw the queue as it was before
        row["due__due_at"] = row["updated_at"] if one.vector is None else None
    return row, row["id"] == one.columns["id"]


def insert_memories(
    namespace_id: int, memories: Sequence[MemoryIn], serving: str | None = None, document_id: UUID | None = None
) -> tuple[list[UUID], set[UUID]]:
    """Insert all or none: their ids in the order given, and which of these are new."""
    drafts = [make_draft(memory, document_id) for memory in memories]
    with transaction.atomic():
        ids: dict[Identity, UUID] = {}
        for wave in split_into_batches(drafts):
            ids |= insert_batch(namespace_id, wave)
        write_vectors(namespace_id, [(ids[each.identity], each) for each in drafts], serving)
    mine = {each.columns["id"] for each in drafts}
    return [ids[each.identity] for each in drafts], mine & set(ids.values())


def insert_batch(namespace_id: int, drafts: list[Draft]) -> dict[Identity, UUID]:
    """The ids of the drafts. Those that met an expired twin have none at first: it is removed, and they try again."""
    ids = map_ids_by_identity(execute_upsert(namespace_id, drafts, ID_COLUMNS))
    while missing := [each for each in drafts if each.identity not in ids]:
        purge_expired(namespace_id)
        ids |= map_ids_by_identity(execute_upsert(namespace_id, missing, ID_COLUMNS))
    return ids


def map_ids_by_identity(rows: list[tuple]) -> dict[Identity, UUID]:
    return {make_identity(*rest): pk for pk, *rest in rows}


def purge_expired(namespace_id: int) -> None:
    Memory.objects.filter(namespace_id=namespace_id).expired().delete()


def split_into_batches(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """The drafts in groups without twins: one statement cannot touch the same row twice, nor tell entities and other
    memories apart. What only repeats the one before it is dropped.

    Sorted, so that two bulks with the same contents wait for each other instead of locking each other out.
    """
    groups: dict[bool, list[dict[Identity, Draft]]] = {False: [], True: []}
    before = None
    for each in sorted(drafts, key=lambda item: item.identity):
        said = to_json([each.digest.hex(), {key: each.columns[key] for key in COMPARED_COLUMNS}])
        if said == before:
            continue
        before, mine = said, groups[each.is_entity]
        group = next((group for group in mine if each.identity not in group), None)
        if group is None and len(mine) == MAX_DUPLICATES_PER_REQUEST:
            raise InvalidField(
                "memories",
                f"may say at most {MAX_DUPLICATES_PER_REQUEST} different things of the same content or entity",
            )
        if group is None:
            mine.append(group := {})
        group[each.identity] = each
    return [list(group.values()) for mine in groups.values() for group in mine]


def write_vectors(namespace_id: int, drafts: list[tuple[UUID, Draft]], serving: str | None) -> None:
    made = {pk: (pk, each.digest, each.vector) for pk, each in drafts if each.vector is not None}
    if made:
        Embedding.objects.write(model_for_supplied_vector(namespace_id, serving), list(made.values()))


def execute_upsert(namespace_id: int, drafts: list[Draft], returning: str) -> list[tuple]:
    """Add drafts that are all entities, or none of them is."""
    sql = (UPSERT_BY_ENTITY_SQL if drafts[0].is_entity else UPSERT_BY_CONTENT_SQL) + returning
    parameters = {"namespace": namespace_id, "drafts": to_json([each.columns for each in drafts]).decode()}
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def row_to_dict(row: Sequence[Any]) -> dict[str, Any]:
    """A row of OUT_COLUMNS by name. Django leaves jsonb as text on a bare cursor."""
    result = dict(zip(OUT_COLUMNS, row, strict=False))
    for name in ("data", "metadata"):
        result[name] = json.loads(result[name]) if isinstance(result[name], str) else result[name]
    return result
