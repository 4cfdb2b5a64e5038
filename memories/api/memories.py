"""/memories: add, get, update, delete, list and search."""

import json
import time
from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BeforeValidator, ConfigDict
from pydantic_core import to_json

from memories import tasks
from memories.add import add_many, add_one
from memories.edit import edit_memory
from memories.expiry import purge_expired_memories
from memories.models import Memory, MemoryQuerySet
from memories.schemas import (
    OUT_COLUMNS,
    AddedOut,
    BulkIn,
    BulkOut,
    DeleteIn,
    DeleteOut,
    MemoryIn,
    MemoryOut,
    MemoryPage,
    MemoryPatch,
    SearchIn,
    SearchOut,
    to_memory_out,
)
from memories.search.execute import find_memories
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.query_embedding import resolve_search_vector
from memories.types import MemoryType
from memory_site.core.http.fields import JsonObject, Tags
from memory_site.core.http.pagination import paginate
from memory_site.core.http.parsing import read_json
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])
WAIT_SECONDS = 20.0
DUPLICATE_MEMORY_DETAIL = (
    "Another memory of this namespace has the same content, type and user, or describes the same entity."
)
RELATED_MEMORY_DETAIL = (
    "The memory has relationships, and those join memories of one user: remove them before its user changes."
)


def parse_json_parameter(value: Any) -> Any:
    """A JSON object written into a query parameter."""
    try:
        return read_json(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ValueError("must be a JSON object") from error


def ensure_list(value: Any) -> Any:
    """A parameter that may be repeated, given once."""
    return value if isinstance(value, list) else [value]


class FilterParameters(Filters):
    """The same filters as query parameters: lists repeated, metadata as JSON text."""

    model_config = ConfigDict(strict=False)

    memory_types: Annotated[list[MemoryType], BeforeValidator(ensure_list)] | None = None
    tags: Annotated[Tags, BeforeValidator(ensure_list)] | None = None
    any_tags: Annotated[Tags, BeforeValidator(ensure_list)] | None = None
    ids: Annotated[list[UUID], BeforeValidator(ensure_list)] | None = None
    metadata: Annotated[JsonObject, BeforeValidator(parse_json_parameter)] | None = None


def get_memory_queryset(request: ApiRequest, memory_id: UUID) -> MemoryQuerySet:
    """The caller's living memory, if there is one: the one place where an id becomes a row."""
    return Memory.objects.in_namespace(request.auth.namespace_id).filter(pk=memory_id)


def memory_not_found() -> Problem:
    return Problem(404, "There is no such memory.")


@router.post("/memories", auth=write_access, response={200: AddedOut, 201: AddedOut, **PROBLEMS})
def add_memory(request: ApiRequest, payload: MemoryIn, wait: bool = False):
    """Keep a memory. It can be found by its words at once, by its meaning as soon as a worker has embedded it;
    `wait=true` answers when that is done. The same content, type and user is kept once: 200 and `created: false`."""
    response = _add_memory(request, payload)
    if wait and (memory := json.loads(response.content))["embedded"] is False:
        memory["embedded"] = tasks.embed_now(UUID(memory["id"]), WAIT_SECONDS)
        response.content = to_json(memory)
    return response


@write_operation(on_conflict=purge_expired_memories)
def _add_memory(request: ApiRequest, payload: MemoryIn) -> HttpResponse:
    row, created = add_one(request.auth.namespace_id, payload, request.auth.embedding_model)
    tasks.embedding_trigger.notify_on_commit()
    return json_response(to_memory_out(row) | {"created": created}, 201 if created else 200)


@router.post("/memories/bulk", auth=write_access, response={201: BulkOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_memories(request: ApiRequest, payload: BulkIn):
    """Keep up to 1,000 memories: all, or none when one is not valid (`errors` names it by its position)."""
    ids, created = add_many(request.auth.namespace_id, payload.memories, request.auth.embedding_model)
    tasks.embedding_trigger.notify_on_commit()
    return json_response({"created": created, "existing": len(ids) - created, "ids": ids}, 201)


@router.get("/memories", auth=read_access, response={200: MemoryPage, **PROBLEMS})
def list_memories(
    request: ApiRequest,
    filters: Query[FilterParameters],
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Memories, newest first."""
    rows = Memory.objects.in_namespace(request.auth.namespace_id).matching(filters)
    return json_response(paginate(rows, OUT_COLUMNS, limit, cursor, to_memory_out))


@router.post("/memories/delete", auth=write_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def delete_memories(request: ApiRequest, payload: DeleteIn):
    """Delete every memory that matches. `dry_run` counts and deletes nothing; empty filters are refused."""
    if payload.filters.is_empty:
        raise invalid_field("filters", "must name at least one condition")
    rows = Memory.objects.in_namespace(request.auth.namespace_id).matching(payload.filters)
    if payload.dry_run:
        return json_response({"matched": rows.count(), "deleted": 0})
    deleted = rows.delete()[0]
    return json_response({"matched": deleted, "deleted": deleted})


@router.post("/memories/search", auth=read_access, response={200: SearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_memories(request: ApiRequest, payload: SearchIn):
    """Find memories by words, by meaning, or by both (the default). Changes nothing."""
    started = time.perf_counter()
    vector, degraded = resolve_search_vector(payload, request.auth.embedding_model)
    query = None if payload.mode == "vector" else payload.query
    search = Search(query, vector, request.auth.embedding_model, payload.limit, payload.threshold)
    hits = find_memories(request.auth.namespace_id, payload.filters, search, explain=payload.explain)
    took = round((time.perf_counter() - started) * 1000, 2)
    return json_response({"results": hits, "mode": payload.mode, "degraded": degraded, "took_ms": took})


# Below the fixed addresses, which an id would otherwise swallow.
@router.get("/memories/{memory_id}", auth=read_access, response={200: MemoryOut, **PROBLEMS})
def get_memory(request: ApiRequest, memory_id: UUID):
    """One memory."""
    row = get_memory_queryset(request, memory_id).values(*OUT_COLUMNS).first()
    if row is None:
        raise memory_not_found()
    return json_response(to_memory_out(row))


@router.patch("/memories/{memory_id}", auth=write_access, response={200: MemoryOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def update_memory(request: ApiRequest, memory_id: UUID, payload: MemoryPatch):
    """Change the named fields. New content is embedded anew; until then the old vector serves."""
    with transaction.atomic():
        one = get_memory_queryset(request, memory_id)
        if edit_memory(request.auth.namespace_id, one, **payload.columns(only_given=True)) is None:
            raise memory_not_found()
        row = Memory.objects.filter(pk=memory_id).values(*OUT_COLUMNS).get()
    tasks.embedding_trigger.notify_on_commit()
    return json_response(to_memory_out(row))


@router.delete("/memories/{memory_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_memory(request: ApiRequest, memory_id: UUID):
    """Delete a memory, its vector and everything that refers to it."""
    if not get_memory_queryset(request, memory_id).delete()[0]:
        raise memory_not_found()
    return HttpResponse(status=204)
