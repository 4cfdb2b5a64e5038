"""One memory, and pages of memories: the ORM's statements, compiled once."""

from datetime import datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from memories.models import Memory, MemoryQuerySet
from memories.schemas import OUT_COLUMNS, to_memory_out
from memories.search.filters import Filters
from memories.storage import row_to_dict
from memory_site.core.db.prepared import PreparedQuery
from memory_site.core.http.pagination import BY_CREATED_AT, Position, build_page, select_page


def select_memory(namespace_id: int, memory_id: UUID) -> MemoryQuerySet:
    """Select the memory with this id, in every state: the only place where an id of a request selects a row."""
    return Memory.objects.stored_in(namespace_id).filter(pk=memory_id)


def fetch_memory(namespace_id: int, memory_id: UUID) -> dict[str, Any] | None:
    """Return the memory as MemoryOut, or None."""
    rows = prepare_memory().fetch(namespace_id=namespace_id, memory_id=memory_id)
    return to_memory_out(row_to_dict(rows[0])) if rows else None


def select_memory_by_key(namespace_id: int, user_id: str | None, key: str) -> MemoryQuerySet:
    """Select the user's memory with this key, in every state."""
    return Memory.objects.stored_in(namespace_id).filter(user_id=user_id, key=key)


def fetch_memory_by_key(namespace_id: int, user_id: str | None, key: str) -> dict[str, Any] | None:
    """Return the memory as MemoryOut, or None. Without a user it is one that belongs to none."""
    values = {"namespace_id": namespace_id, "key": key} | ({} if user_id is None else {"user_id": user_id})
    rows = prepare_memory_by_key(of_user=user_id is not None).fetch(**values)
    return to_memory_out(row_to_dict(rows[0])) if rows else None


def fetch_memory_page(namespace_id: int, filters: Filters, limit: int, cursor: str | None) -> dict[str, Any]:
    """Return one page of the memories that match, newest first, as MemoryOut. Raises Problem 422 for a bad cursor."""
    filters_json = filters.model_dump_json(exclude_none=True)

    def fetch(direction: str, position: Position | None) -> list[dict[str, Any]]:
        query = prepare_page(type(filters), filters_json, limit, direction, position is None)
        values = dict(zip(("moment", "memory_id"), position or (), strict=False))
        return [row_to_dict(row) for row in query.fetch(namespace_id=namespace_id, **values)]

    return build_page(BY_CREATED_AT, limit, cursor, to_memory_out, fetch)


@cache
def prepare_memory() -> PreparedQuery:
    return PreparedQuery(
        lambda namespace_id, memory_id: select_memory(namespace_id, memory_id).values_list(*OUT_COLUMNS),
        **{"namespace_id": int, "memory_id": UUID},
    )


@cache
def prepare_memory_by_key(*, of_user: bool) -> PreparedQuery:
    return PreparedQuery(
        lambda namespace_id, key, user_id=None: select_memory_by_key(namespace_id, user_id, key).values_list(
            *OUT_COLUMNS
        ),
        **{"namespace_id": int, "key": str} | ({"user_id": str} if of_user else {}),
    )


# The statement holds no time of compilation: SQL reads the clock.
@lru_cache(maxsize=1_000)
def prepare_page(kind: type[Filters], filters_json: str, limit: int, direction: str, is_first: bool) -> PreparedQuery:
    filters = kind.model_validate_json(filters_json)

    def build(namespace_id: int, **position: Any) -> Any:
        rows = Memory.objects.in_namespace(namespace_id, filters.states).matching(filters).values_list(*OUT_COLUMNS)
        return select_page(BY_CREATED_AT, rows, limit, direction, tuple(position.values()) or None)

    position_types = {} if is_first else {"moment": datetime, "memory_id": UUID}
    return PreparedQuery(build, **{"namespace_id": int} | position_types)
