"""Bring deleted memories back, and set memories back to what stood there before a change."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from memories.conflicts import SAME_CONTENT, SAME_ENTITY, SAME_KEY
from memories.history.models import MemoryVersion, Operation
from memories.history.parts import restore_parts
from memories.history.trash import get_default_row, list_trash
from memories.history.versions import list_kept_fields
from memories.insights.capture import lock_insights_for, sync_after_update
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.reads import select_memory
from memories.storage import purge_expired
from memory_site.core.db.actor import ACTOR_SQL, get_actor_parameters
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.errors import Conflict, NotFound

#: Of one transaction.
MAX_BATCH = 1_000
NOT_IN_TRASH = "It is not in the trash."
NO_DOCUMENT = "The document of which it is a chunk is gone."
CONFLICTING = "Another memory is the same now, or its relationships join it to its present user."
CHANGED_SINCE = "It was changed again since."
GONE_SINCE = "It was deleted since."
HAS_EXPIRED = "What stood there has expired since."
NO_VERSION = "There is no such version of this memory."
#: Set by what restores a version: the change is a new one.
MOVING_COLUMNS = ("updated_at",)
#: Left as they are when a person restores a version: they have operations of their own.
STATE_COLUMNS = ("state", "superseded_by")

# Rows in the order of their ids, so that two restorations of the same do not deadlock. An expired memory would be
# invisible, and a chunk without its document would never be replaced.
RESTORE_DELETED_SQL = """
INSERT INTO memories_memory (namespace_id, id, access_count, {columns})
SELECT version.namespace_id, version.memory_id, 0, {kept}
FROM history_memoryversion version
CROSS JOIN LATERAL jsonb_populate_record(NULL::memories_memory, %(defaults)s::jsonb || version.row) AS kept
WHERE version.namespace_id = %(namespace)s AND version.id = ANY (%(versions)s)
    AND (kept.document_id IS NULL OR EXISTS (
        SELECT FROM ingestion_document WHERE namespace_id = %(namespace)s AND id = kept.document_id
    ))
ORDER BY version.memory_id
ON CONFLICT DO NOTHING RETURNING id
"""
RESTORE_VERSIONS_SQL = """
UPDATE memories_memory AS memory
SET updated_at = %(now)s, ({columns}) = (
    SELECT {columns} FROM jsonb_populate_record(memory, version.row)
)
FROM history_memoryversion version, {actor}
WHERE version.namespace_id = %(namespace)s AND version.id = ANY (%(versions)s)
    AND memory.namespace_id = %(namespace)s AND memory.id = version.memory_id
RETURNING memory.id
"""
FIND_CHANGED_CONTENT_SQL = """
SELECT memory.id FROM history_memoryversion version
JOIN memories_memory memory ON memory.namespace_id = %(namespace)s AND memory.id = version.memory_id
WHERE version.namespace_id = %(namespace)s AND version.id = ANY (%(versions)s)
    AND memory.content IS DISTINCT FROM version.row ->> 'content'
"""


class NotRestorable(Conflict):
    """Something stands in the way of a deleted memory; the message says what."""


@dataclass
class Restored:
    """What became of the memories: the ids that came back, and why others were left. `there` need nothing."""

    ids: list[UUID] = field(default_factory=list)
    there: list[UUID] = field(default_factory=list)
    left: dict[UUID, str] = field(default_factory=dict)

    def __add__(self, other: "Restored") -> "Restored":
        return Restored(self.ids + other.ids, self.there + other.there, self.left | other.left)


@retry_on_deadlock
def restore_deleted(namespace_id: int, ids: Iterable[UUID]) -> Restored:
    """Bring memories of the trash back with id, relationships and insight, to be embedded again; at most MAX_BATCH.

    One that is there already is harmless. One that would be a second of the same is left.
    """
    wanted = list(dict.fromkeys(ids))
    with transaction.atomic():
        deleted = dict(list_trash(namespace_id).filter(memory_id__in=wanted).values_list("memory_id", "id"))
        back = insert_deleted(namespace_id, list(deleted.values()))
        if len(back) < len(deleted) and purge_expired(namespace_id):  # an expired one may have been in the way
            back += insert_deleted(namespace_id, list(deleted.values()))
        if back:
            restore_parts(namespace_id, back)
        others = [pk for pk in wanted if pk not in set(back)]
        return Restored(back) + explain(namespace_id, others, deleted)


def insert_deleted(namespace_id: int, versions: Sequence[UUID]) -> list[UUID]:
    """Return the ids of the memories that could be inserted."""
    names = list_kept_fields()
    sql = RESTORE_DELETED_SQL.format(columns=", ".join(names), kept=", ".join(f"kept.{name}" for name in names))
    parameters: dict[str, Any] = {"namespace": namespace_id, "versions": list(versions), "defaults": get_default_row()}
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [pk for (pk,) in cursor.fetchall()]


def explain(namespace_id: int, ids: Sequence[UUID], deleted: dict[UUID, UUID]) -> Restored:
    """Return why the memories did not come back. `deleted` are the versions of those in the trash."""
    if not ids:
        return Restored()
    there = set(Memory.objects.stored_in(namespace_id).filter(pk__in=ids).values_list("pk", flat=True))
    versions = MemoryVersion.objects.filter(namespace=namespace_id, pk__in=deleted.values())
    in_trash = dict(versions.values_list("memory_id", "row")) if deleted else {}
    left = {pk: explain_one(in_trash.get(pk)) for pk in ids if pk not in there}
    return Restored(there=[pk for pk in ids if pk in there], left=left)


def explain_one(row: dict | None) -> str:
    if row is None:
        return NOT_IN_TRASH
    if row.get("document_id"):
        return NO_DOCUMENT
    if row.get("key") is not None:
        return SAME_KEY
    return SAME_CONTENT if row.get("entity_id") is None else SAME_ENTITY


@transaction.atomic
def restore_memory(namespace_id: int, memory_id: UUID, version_id: UUID | None = None) -> None:
    """Set a memory back to a version, or to what stood there before its last change. One in the trash comes back
    first, as it was when it was deleted unless a version is given.

    Raises NotFound if there is no such memory or version, NotRestorable or IntegrityError if another one is the same.
    """
    version = find_version(namespace_id, memory_id, version_id)
    lock_insights_for(namespace_id, version.row["content"] if version else None)
    is_back = not select_memory(namespace_id, memory_id).select_for_update().exists()
    if is_back:
        bring_back(namespace_id, memory_id)
    elif version is None:
        raise NotFound("This memory has no earlier version.")
    if version is not None and (version_id is not None or not is_back):
        apply_versions(namespace_id, [version.pk], exclude=STATE_COLUMNS)
        if not select_memory(namespace_id, memory_id).exists():
            raise NotRestorable(HAS_EXPIRED)


def find_version(namespace_id: int, memory_id: UUID, version_id: UUID | None) -> MemoryVersion | None:
    """Return a version of the memory, or the newest one. Raises NotFound if there is no such version."""
    rows = MemoryVersion.objects.filter(namespace=namespace_id, memory_id=memory_id)
    if version_id is None:
        return rows.order_by("-changed_at", "-id").first()
    version = rows.filter(pk=version_id).first()
    if version is None:
        raise NotFound(NO_VERSION)
    return version


def bring_back(namespace_id: int, memory_id: UUID) -> None:
    restored = restore_deleted(namespace_id, [memory_id])
    if not restored.ids:
        reason = restored.left.get(memory_id, NOT_IN_TRASH)
        raise NotFound("There is no such memory.") if reason == NOT_IN_TRASH else NotRestorable(reason)


def apply_versions(namespace_id: int, versions: Sequence[UUID], exclude: Sequence[str] = ()) -> list[UUID]:
    """Set memories that are there back to these versions, one of each. Return their ids.

    Their insights follow. New content is embedded again. Raises IntegrityError if another memory is the same.
    """
    names = [name for name in list_kept_fields() if name not in (*MOVING_COLUMNS, *exclude)]
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "versions": list(versions),
        "now": timezone.now(),
        **get_actor_parameters(),
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND_CHANGED_CONTENT_SQL, parameters)
        changed = {pk for (pk,) in cursor.fetchall()}
        cursor.execute(RESTORE_VERSIONS_SQL.format(columns=", ".join(names), actor=ACTOR_SQL), parameters)
        ids = [pk for (pk,) in cursor.fetchall()]
    sync_insights(namespace_id, ids, changed)
    return ids


def sync_insights(namespace_id: int, ids: Sequence[UUID], changed: Collection[UUID]) -> None:
    """Have the insight rows follow the memories, of which the `changed` ones have another content."""
    memories = Memory.objects.filter(namespace_id=namespace_id, pk__in=ids)
    without_row = Q(memory_type=MemoryType.INSIGHT, insight=None)
    for memory in memories.filter(Q(pk__in=changed) | without_row).order_by("pk"):
        sync_after_update(memory, {"content"})


def take_back(namespace_id: int, job_id: UUID, ids: Sequence[UUID]) -> Restored:
    """Take back what a job did to these memories: deleted ones come back, changed ones get what stood there before.

    A memory that was changed or deleted since by anything else is left.
    """
    of_memories = MemoryVersion.objects.filter(namespace=namespace_id, memory_id__in=ids)
    newest = of_memories.order_by("memory_id", "-changed_at", "-id").distinct("memory_id")
    oldest = of_memories.filter(job_id=job_id).order_by("memory_id", "changed_at", "id").distinct("memory_id")
    last = {row.memory_id: row for row in newest.only("memory_id", "operation", "job_id")}
    others = {pk: GONE_SINCE if row.operation == Operation.DELETE else CHANGED_SINCE
              for pk, row in last.items() if row.job_id != job_id}  # fmt: skip
    deleted = [pk for pk, row in last.items() if pk not in others and row.operation == Operation.DELETE]
    first = dict(oldest.values_list("memory_id", "pk"))
    restored = restore_deleted(namespace_id, deleted) if deleted else Restored()
    changed = [first[pk] for pk in first if pk not in others and pk not in {*deleted, *restored.left}]
    return Restored(left=others) + restored + apply_by_halves(namespace_id, changed)


def apply_by_halves(namespace_id: int, versions: Sequence[UUID]) -> Restored:
    """Apply versions, and leave those that the database refuses: they are found by halving."""
    if not versions:
        return Restored()
    try:
        with transaction.atomic():
            return Restored(apply_versions(namespace_id, versions))
    except IntegrityError:
        if len(versions) == 1:
            pk = MemoryVersion.objects.values_list("memory_id", flat=True).get(namespace=namespace_id, pk=versions[0])
            return Restored(left={pk: CONFLICTING})
    half = len(versions) // 2
    return apply_by_halves(namespace_id, versions[:half]) + apply_by_halves(namespace_id, versions[half:])
