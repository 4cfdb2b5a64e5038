"""The versions of a memory, newest first, each with what its change made different."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from memories.history.models import MemoryVersion, Operation
from memories.history.trigger_sql import LEFT_OUT, SILENT_COLUMNS
from memories.models import Memory
from memories.reads import select_memory
from memory_site.core.db.prepared import fetch_rows

Row = dict[str, Any]
#: Of a version: how many are read where no limit is given.
DEFAULT_LIMIT = 20


@dataclass(frozen=True)
class Change:
    """A field that a change made different, with its values as JSON has them."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Version:
    """A memory as it was before an operation. A deletion, and a change of which the result is unknown, have no
    `changes`."""

    version: UUID
    memory_id: UUID
    operation: Operation
    changed_at: datetime
    changed_by: str
    request_id: str
    job_id: UUID | None
    row: Row
    changes: Sequence[Change]


@cache
def list_kept_fields() -> tuple[str, ...]:
    """Return the columns of a memory that its versions keep, in the order of the model."""
    known = {"namespace_id", "id", *LEFT_OUT}
    columns = [str(field.column) for field in Memory._meta.concrete_fields]
    return tuple(column for column in columns if column not in known)


def is_known(namespace_id: int, memory_id: UUID) -> bool:
    """Return whether the memory can be read by its id, or was deleted before it expired."""
    if Memory.objects.filter(namespace_id=namespace_id, pk=memory_id).exists():
        return select_memory(namespace_id, memory_id).exists()
    deletions = MemoryVersion.objects.filter(namespace=namespace_id, memory_id=memory_id, operation=Operation.DELETE)
    return deletions.filter(Q(expires_at=None) | Q(expires_at__gt=Now())).exists()


def list_versions(
    namespace_id: int, memory_id: UUID, limit: int = DEFAULT_LIMIT, rows: Sequence[MemoryVersion] | None = None
) -> list[Version]:
    """Return the newest versions of a memory, whether it is still there or not, newest first.

    `rows` are others, next to each other and newest first, such as those of a page.
    """
    own = MemoryVersion.objects.filter(namespace=namespace_id, memory_id=memory_id)
    if rows is None:
        rows = list(own.order_by("-changed_at", "-id")[:limit])
    if not rows:
        return []
    later = own.filter(build_later_condition(rows[0])).order_by("changed_at", "id").first()
    after = later.row if later else fetch_current_row(namespace_id, memory_id)
    versions = []
    for row in rows:
        versions.append(build_version(row, after))
        after = row.row
    return versions


def build_later_condition(row: MemoryVersion) -> Q:
    return Q(changed_at__gt=row.changed_at) | Q(changed_at=row.changed_at, id__gt=row.id)


def build_version(row: MemoryVersion, after: Row | None) -> Version:
    is_known = row.operation == Operation.UPDATE and after is not None
    return Version(
        version=row.id,
        memory_id=row.memory_id,
        operation=Operation(row.operation),
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        request_id=row.request_id,
        job_id=row.job_id,
        row=row.row,
        changes=find_changes(row.row, after) if is_known and after is not None else (),
    )


def find_changes(before: Row, after: Row) -> list[Change]:
    """Return the fields that differ, in the order of the model. A field that either row does not know, because its
    column is newer, is left out; so are the times and counts that each change moves."""
    fields = [name for name in list_kept_fields() if name not in SILENT_COLUMNS]
    return [
        Change(name, before[name], after[name])
        for name in fields
        if name in before and name in after and before[name] != after[name]
    ]


def fetch_current_row(namespace_id: int, memory_id: UUID) -> Row | None:
    """Return the memory's row as a version would keep it; None if there is no such memory."""
    members = ", ".join(f"'{name}', {name}" for name in list_kept_fields())
    sql = f"SELECT jsonb_build_object({members}) FROM memories_memory WHERE namespace_id = %s AND id = %s"
    rows = fetch_rows(sql, [namespace_id, memory_id])
    return json.loads(rows[0][0]) if rows else None
