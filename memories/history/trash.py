"""The trash: what was deleted in the last TRASH_DAYS, and neither came back nor would have expired since."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from pydantic_core import to_json

from memories.history.models import MemoryVersion, Operation
from memories.history.versions import list_kept_fields
from memories.models import Memory
from memories.search.filters import Filters

# The kept rows stand for the table itself: so every condition on memories applies to deleted ones, as it is.
SELECT_MATCHING_SQL = """
SELECT version.id FROM history_memoryversion version
CROSS JOIN LATERAL jsonb_populate_record(
    NULL::memories_memory, %s::jsonb || version.row || jsonb_build_object('id', version.memory_id)
) AS memories_memory
WHERE version.namespace_id = %s AND version.operation = 'delete' AND ({conditions})
"""


def get_trash_period() -> timedelta:
    return timedelta(days=settings.TRASH_DAYS)


def find_end(deleted_at: datetime, expires_at: datetime | None) -> datetime:
    """Return when a deleted memory leaves the trash."""
    end = deleted_at + get_trash_period()
    return end if expires_at is None else min(end, expires_at)


def list_trash(
    namespace_id: int | None, filters: Filters | None = None, model: type[MemoryVersion] = MemoryVersion
) -> QuerySet[MemoryVersion]:
    """Return the deletions of one namespace, or of all, that can be taken back; one of each memory."""
    rows = model._default_manager.filter(operation=Operation.DELETE, changed_at__gt=Now() - get_trash_period())
    rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
    space: Any = OuterRef("namespace")
    if namespace_id is not None:
        rows, space = rows.filter(namespace=namespace_id), namespace_id
    own = {"namespace": space, "memory_id": OuterRef("memory_id")}
    later = MemoryVersion.objects.filter(**own, changed_at__gt=OuterRef("changed_at"))
    present = Memory.objects.filter(namespace=space, pk=OuterRef("memory_id"))
    rows = rows.filter(~Exists(present), ~Exists(later))
    if namespace_id is None or filters is None or filters.is_empty:
        return rows
    return rows.filter(match_deleted(namespace_id, filters))


def match_deleted(namespace_id: int, filters: Filters) -> Q:
    """Return the condition that the deleted memory matches the filters."""
    query = Memory.objects.filter(filters.conditions()).query
    conditions, parameters = query.get_compiler(DEFAULT_DB_ALIAS).compile(query.where)
    sql = SELECT_MATCHING_SQL.format(conditions=conditions)
    return Q(pk__in=RawSQL(sql, [get_default_row(), namespace_id, *parameters]))  # noqa: S611  (values are parameters)


@cache
def get_default_row() -> str:
    """Return, as JSON, what columns hold that are younger than a kept row."""
    return to_json(
        {
            field.column: get_default(field)
            for field in Memory._meta.concrete_fields
            if field.column in list_kept_fields() and not field.null and field.column != "content"
        }
    ).decode()


def get_default(field: models.Field) -> Any:
    if isinstance(field.db_default, models.Value):
        return field.db_default.value
    return field.get_default() if field.has_default() else None


def list_newest_ids(rows: QuerySet[MemoryVersion], limit: int) -> list[UUID]:
    """Return the ids of the memories that were deleted last."""
    return list(rows.order_by("-changed_at", "-id").values_list("memory_id", flat=True)[:limit])
