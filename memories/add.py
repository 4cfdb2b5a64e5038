"""Adding memories: one statement for one or a thousand, which says of each whether it was there already."""

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

from memories.models import Embedding, Memory
from memories.schemas import OUT_COLUMNS, MemoryIn, out_columns
from memories.types import Importance
from memory_site.ids import uuid7
from memory_site.problems import invalid

# One JSON parameter carries any number of rows; the types are those of the table's columns.
DRAFT = {
    "id": "uuid", "content": "text", "summary": "text", "data": "jsonb", "metadata": "jsonb", "memory_type": "text",
    "source_system": "text", "user_id": "text", "agent_id": "text", "workflow_id": "text", "repo_id": "text",
    "session_id": "text", "importance": "smallint", "confidence": "float8", "tags": "text[]", "entity_system": "text",
    "entity_id": "text", "entity_type": "text", "entity_name": "text", "created_at": "timestamptz",
    "updated_at": "timestamptz", "expires_at": "timestamptz", "document_id": "uuid",
}  # fmt: skip
ENTITY = ", ".join(
    f"{part} = CASE WHEN kept.entity_id IS NULL THEN excluded.{part} ELSE kept.{part} END"
    for part in ("entity_system", "entity_id", "entity_type", "entity_name")
)
# What a request does not say stands as its default here, and is no reason to change what was said before.
DEFAULT_IMPORTANCE = Importance.MEDIUM.value
# The same content again keeps all that was known and takes over what is new. An expired twin is not there for anyone:
# it is left alone here, and `insert` removes it.
ADD = f"""
INSERT INTO memories_memory AS kept (namespace_id, {", ".join(DRAFT)}, access_count)
SELECT %(namespace)s, {", ".join(DRAFT)}, 0
FROM jsonb_to_recordset(%(drafts)s::jsonb) AS draft({", ".join(f"{name} {kind}" for name, kind in DRAFT.items())})
ON CONFLICT (namespace_id, memory_type, user_id, content_hash, document_id) WHERE entity_id IS NULL DO UPDATE SET
    updated_at = excluded.updated_at,
    summary = coalesce(excluded.summary, kept.summary),
    data = CASE WHEN kept.data IS NULL THEN excluded.data ELSE kept.data || coalesce(excluded.data, '{{}}') END,
    metadata = kept.metadata || excluded.metadata,
    tags = kept.tags || ARRAY(SELECT unnest(excluded.tags) EXCEPT SELECT unnest(kept.tags)),
    agent_id = coalesce(kept.agent_id, excluded.agent_id),
    workflow_id = coalesce(kept.workflow_id, excluded.workflow_id),
    repo_id = coalesce(kept.repo_id, excluded.repo_id),
    session_id = coalesce(kept.session_id, excluded.session_id),
    {ENTITY},
    importance = CASE WHEN excluded.importance = {DEFAULT_IMPORTANCE} THEN kept.importance
                 ELSE greatest(kept.importance, excluded.importance) END,
    confidence = CASE WHEN excluded.confidence = 1 THEN kept.confidence
                 ELSE greatest(kept.confidence, excluded.confidence) END,
    expires_at = CASE WHEN kept.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
                 ELSE greatest(kept.expires_at, excluded.expires_at) END
WHERE kept.expires_at IS NULL OR kept.expires_at > statement_timestamp()
RETURNING """
WHOLE = out_columns("kept")
SLIM = "id, memory_type, user_id, content_hash"

# Each is a statement of its own.
TWINS_AT_MOST = 20
# What two drafts of the same content may differ in, as far as a memory cares.
SAID = [name for name in DRAFT if name not in ("id", "content", "created_at", "updated_at")]

# Type, user, SHA-256 of the content: what makes two memories of a namespace the same.
Identity = tuple[str, str | None, bytes]


@dataclass(slots=True)
class Draft:
    """A memory on its way into the table."""

    columns: dict[str, Any]
    vector: list[float] | None
    identity: Identity


def draft(memory: MemoryIn, document_id: UUID | None = None) -> Draft:
    columns, now = memory.columns(), datetime.now(UTC)
    vector = columns.pop("vector")
    columns |= {
        "id": uuid7(),
        "created_at": columns["created_at"] or now,
        "updated_at": now,
        "document_id": document_id,
    }
    digest = hashlib.sha256(memory.content.encode()).digest()
    return Draft(columns, vector, (str(memory.memory_type), memory.user_id, digest))


def add_one(namespace_id: int, memory: MemoryIn, model: str) -> tuple[dict[str, Any], bool]:
    """Add one memory: its row (OUT_COLUMNS) and whether it is new. One statement, unless it brings its vector."""
    one = draft(memory)
    with nullcontext() if one.vector is None else transaction.atomic():
        row = insert(namespace_id, [one], WHOLE)[0]
        write_vectors([(row[0], one)], model)
    created, row = row[0] == one.columns["id"], named(row)
    if created or one.vector is not None:  # the statement saw the queue as it was before
        row["due__after"] = row["created_at"] if one.vector is None else None
    return row, created


def add_many(
    namespace_id: int, memories: Sequence[MemoryIn], model: str, document_id: UUID | None = None
) -> tuple[list[UUID], int]:
    """Add all or none: their ids in the order given, and how many are new. Chunks of a document are apart from all
    other memories: the same text in two files is two chunks."""
    drafts = [draft(memory, document_id) for memory in memories]
    with transaction.atomic():
        ids: dict[Identity, UUID] = {}
        for wave in waves(drafts):
            ids |= identified(insert(namespace_id, wave, SLIM))
        write_vectors([(ids[each.identity], each) for each in drafts], model)
    mine = {each.columns["id"] for each in drafts}
    return [ids[each.identity] for each in drafts], sum(pk in mine for pk in set(ids.values()))


def insert(namespace_id: int, drafts: list[Draft], returning: str) -> list[tuple]:
    """A row for each draft. Those that met an expired twin give none at first: it is removed, and they try again."""
    rows = ask(ADD + returning, namespace_id, drafts)
    while len(rows) < len(drafts):
        Memory.objects.filter(namespace_id=namespace_id).expired().delete()
        rows = ask(ADD + returning, namespace_id, drafts)
    return rows


def waves(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """The drafts in groups without twins: one statement cannot touch the same row twice. Mere repeats are dropped.

    Sorted, so that two bulks with the same contents wait for each other instead of locking each other out.
    """
    groups: list[dict[Identity, Draft]] = []
    seen: set[bytes] = set()
    for each in sorted(drafts, key=lambda item: (item.identity[0], item.identity[1] or "", item.identity[2])):
        said = to_json([each.identity[2].hex(), {key: each.columns[key] for key in SAID}])
        if said in seen:
            continue
        seen.add(said)
        group = next((group for group in groups if each.identity not in group), None)
        if group is None and len(groups) == TWINS_AT_MOST:
            raise invalid("memories", f"may say at most {TWINS_AT_MOST} different things of the same content")
        if group is None:
            groups.append(group := {})
        group[each.identity] = each
    return [list(group.values()) for group in groups]


def identified(rows: list[tuple]) -> dict[Identity, UUID]:
    return {(kind, user, bytes(digest)): pk for pk, kind, user, digest in rows}


def write_vectors(drafts: list[tuple[UUID, Draft]], model: str) -> None:
    made = {pk: (pk, each.identity[2], each.vector) for pk, each in drafts if each.vector is not None}
    if made:
        Embedding.objects.write(model, list(made.values()))


def ask(sql: str, namespace_id: int, drafts: list[Draft]) -> list[tuple]:
    parameters = {"namespace": namespace_id, "drafts": to_json([each.columns for each in drafts]).decode()}
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def named(row: Sequence[Any]) -> dict[str, Any]:
    """A row of OUT_COLUMNS by name. Django leaves jsonb as text on a bare cursor."""
    result = dict(zip(OUT_COLUMNS, row, strict=False))
    for name in ("data", "metadata"):
        result[name] = json.loads(result[name]) if isinstance(result[name], str) else result[name]
    return result
