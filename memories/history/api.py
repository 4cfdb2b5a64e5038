"""/memories/{memory_id}/history and …/restore; /trash."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router

from memories import tasks
from memories.api.memories import FilterParameters, memory_not_found
from memories.api.versions import read_memory_response
from memories.expiry import purge_expired_memories
from memories.history.models import MemoryVersion
from memories.history.restore import MAX_BATCH, Restored, restore_deleted, restore_memory
from memories.history.schemas import (
    MAX_RESTORED_PER_REQUEST,
    TRASHED_COLUMNS,
    RestoreIn,
    TrashPage,
    TrashRestoreIn,
    TrashRestoreOut,
    VersionPage,
    to_trashed_out,
    to_version_out,
)
from memories.history.trash import list_newest_ids, list_trash
from memories.history.versions import is_known, list_versions
from memories.schemas import MemoryOut
from memory_site.core.http.pagination import Keyset, build_page, paginate, parse_moment_and_id, select_page
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["history"])
BY_CHANGED_AT = Keyset(("changed_at", "id"), parse_moment_and_id, descending=True)


@router.get("/memories/{memory_id}/history", auth=read_access, response={200: VersionPage, **PROBLEMS})
def list_history(request: ApiRequest, memory_id: UUID, limit: int = Query(20, ge=1, le=100), cursor: str | None = None):
    """List what stood in a memory before each change, newest first, with who changed it, when and in which request.
    Also for a memory that was deleted. Versions are kept for HISTORY_RETENTION_DAYS."""
    namespace_id = request.auth.namespace_id
    if not is_known(namespace_id, memory_id):
        raise memory_not_found()
    rows = MemoryVersion.objects.filter(namespace=namespace_id, memory_id=memory_id)

    def fetch(direction: str, position: Any) -> list[dict]:
        found = list(select_page(BY_CHANGED_AT, rows, limit, direction, position))
        newest_first = sorted(found, key=lambda row: (row.changed_at, row.id), reverse=True)
        by_id = {each.version: each for each in list_versions(namespace_id, memory_id, rows=newest_first)}
        return [{"id": row.id, "changed_at": row.changed_at, "version": by_id[row.id]} for row in found]

    page = build_page(BY_CHANGED_AT, limit, cursor, lambda row: to_version_out(row["version"]), fetch)
    return json_response(page)


@router.post("/memories/{memory_id}/restore", auth=change_access, response={200: MemoryOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def restore_one(request: ApiRequest, memory_id: UUID, payload: RestoreIn):
    """Set a memory back to a version of its history, or to what stood there before its last change. One in the trash
    comes back with its id and relationships. 409 when another memory is the same meanwhile."""
    namespace_id = request.auth.namespace_id
    restore_memory(namespace_id, memory_id, payload.version)
    tasks.embedding_trigger.notify_on_commit()
    return read_memory_response(namespace_id, memory_id)


@router.get("/trash", auth=read_access, response={200: TrashPage, **PROBLEMS})
def list_deleted(
    request: ApiRequest,
    filters: Query[FilterParameters],
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List deleted memories that can be brought back, the last deleted ones first. The filters are those of a list."""
    rows = list_trash(request.auth.namespace_id, filters)
    return json_response(paginate(rows, TRASHED_COLUMNS, limit, cursor, to_trashed_out, moment="changed_at"))


@router.post("/trash/restore", auth=write_access, response={200: TrashRestoreOut, **PROBLEMS})
@write_operation
def restore_from_trash(request: ApiRequest, payload: TrashRestoreIn):
    """Bring deleted memories back, with ids, relationships and tags; they are embedded again. Repeating it is harmless.
    A filter restores 10,000 in one request."""
    namespace_id, ids = request.auth.namespace_id, payload.ids
    if ids is not None and payload.filters is None and not payload.dry_run:
        return describe(len(set(ids)), restore_batches(namespace_id, ids))
    rows = list_trash(namespace_id, payload.filters)
    rows = rows if ids is None else rows.filter(memory_id__in=ids)
    matched = rows.count()
    if payload.dry_run:
        return describe(matched, Restored())
    found = list_newest_ids(rows, MAX_RESTORED_PER_REQUEST)
    return describe(matched, restore_batches(namespace_id, found), matched - len(found))


def restore_batches(namespace_id: int, ids: list[UUID]) -> Restored:
    restored = Restored()
    for start in range(0, len(ids), MAX_BATCH):
        restored += restore_deleted(namespace_id, ids[start : start + MAX_BATCH])
    if restored.ids:
        tasks.embedding_trigger.notify_on_commit()
    return restored


def describe(matched: int, restored: Restored, remaining: int = 0) -> HttpResponse:
    left = [{"id": pk, "reason": reason} for pk, reason in restored.left.items()]
    return json_response(
        {
            "matched": matched,
            "restored": len(restored.ids),
            "existing": len(restored.there),
            "left": left[:MAX_BATCH],
            "remaining": max(remaining, 0),
        }
    )
