"""/memories: add, get, update, delete, list and search."""

from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import from_json, to_json

from memories import tasks
from memories.add import add_many, add_one
from memories.edit import edit_memory
from memories.embedding_worker import embed_now
from memories.expiry import purge_expired_memories
from memories.memory_types import MemoryType
from memories.models import Memory, MemoryQuerySet
from memories.reads import fetch_memory, fetch_memory_page, select_memory
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
from memories.search.execute import TimedSearch
from memories.search.filters import Filters
from memories.states import State
from memory_site.core.http.fields import JsonObject, Tags
from memory_site.core.http.parsing import read_json
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, delete_access, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])
WAIT_SECONDS = 20.0
WAIT_DESCRIPTION = f"Respond when the memory is embedded, or after {WAIT_SECONDS:.0f} seconds."
DUPLICATE_MEMORY_DETAIL = (
    "Another memory of this namespace has the same content, type and user, or describes the same entity."
)
RELATED_MEMORY_DETAIL = (
    "The memory has relationships, and those join memories of one user: remove them before its user changes."
)


def parse_json_parameter(value: Any) -> Any:
    """Parse a JSON object written into a query parameter."""
    try:
        return read_json(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ValueError("must be a JSON object") from error


def ensure_list(value: Any) -> Any:
    """Return the list of a parameter that may be repeated, also if it was given once."""
    return value if isinstance(value, list) else [value]


class FilterParameters(Filters):
    """The filters as query parameters: lists by repetition, metadata as JSON text."""

    model_config = ConfigDict(strict=False)

    memory_types: Annotated[list[MemoryType], BeforeValidator(ensure_list)] | None = None
    tags: Annotated[Tags, BeforeValidator(ensure_list)] | None = Field(None, description="Every one of these.")
    any_tags: Annotated[Tags, BeforeValidator(ensure_list)] | None = Field(None, description="At least one of these.")
    states: Annotated[list[State], BeforeValidator(ensure_list)] | None = Field(
        None, description="Only memories in one of these states; without it only active ones."
    )
    ids: Annotated[list[UUID], BeforeValidator(ensure_list)] | None = Field(
        None, description="Only memories with one of these ids."
    )
    metadata: Annotated[JsonObject, BeforeValidator(parse_json_parameter)] | None = Field(
        None, description="A JSON object that the memory's metadata contain."
    )


def get_memory_queryset(request: ApiRequest, memory_id: UUID) -> MemoryQuerySet:
    return select_memory(request.auth.namespace_id, memory_id)


def memory_not_found() -> Problem:
    return Problem(404, "There is no such memory.")


@router.post("/memories", auth=write_access, response={200: AddedOut, 201: AddedOut, **PROBLEMS})
def add_memory(request: ApiRequest, payload: MemoryIn, wait: bool = Query(False, description=WAIT_DESCRIPTION)):
    """Store a memory. Its words can be searched at once, its meaning as soon as a worker has embedded it; `wait=true`
    waits for that. The same content, type and user is stored once: 200 and `created: false`."""
    response = store_memory(request, payload)
    if wait:
        wait_until_embedded(request, response)
    return response


@write_operation(on_conflict=purge_expired_memories)
def store_memory(request: ApiRequest, payload: MemoryIn) -> HttpResponse:
    row, created = add_one(request.auth.namespace_id, payload, request.auth.embedding_model)
    tasks.embedding_trigger.notify_on_commit()
    return json_response(to_memory_out(row) | {"created": created}, 201 if created else 200)


def wait_until_embedded(request: ApiRequest, response: HttpResponse) -> None:
    """Wait, after the transaction, until the memory of this response is embedded, and correct `embedded` in it.

    Reads the body, because a response replayed for an Idempotency-Key exists only as bytes.
    """
    memory = from_json(response.content)
    if not memory["embedded"]:
        memory["embedded"] = embed_now(request.auth.namespace_id, UUID(memory["id"]), WAIT_SECONDS)
        response.content = to_json(memory)


@router.post("/memories/bulk", auth=write_access, response={201: BulkOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_memories(request: ApiRequest, payload: BulkIn):
    """Store up to 1,000 memories: all, or none when one is invalid (`errors` names its position)."""
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
    """List memories, newest first."""
    return json_response(fetch_memory_page(request.auth.namespace_id, filters, limit, cursor))


@router.post("/memories/delete", auth=delete_access, response={200: DeleteOut, **PROBLEMS})
@write_operation
def delete_memories(request: ApiRequest, payload: DeleteIn):
    """Delete every memory that matches. `dry_run` counts and deletes nothing; empty filters are refused."""
    if payload.filters.is_empty:
        raise invalid_field("filters", "must name at least one condition")
    rows = Memory.objects.in_namespace(request.auth.namespace_id, payload.filters.states).matching(payload.filters)
    if payload.dry_run:
        return json_response({"matched": rows.count(), "deleted": 0})
    deleted = rows.delete()[0]
    return json_response({"matched": deleted, "deleted": deleted})


@router.post("/memories/search", auth=read_access, response={200: SearchOut, **PROBLEMS})
@idempotent(atomic=False)
def search_memories(request: ApiRequest, payload: SearchIn):
    """Find memories by words, by meaning, or by both (the default). Changes nothing."""
    search = TimedSearch(payload, request.auth.embedding_model)
    hits = search.find(
        request.auth.namespace_id,
        payload.filters,
        threshold=payload.threshold,
        explain=payload.explain,
        operators=True,
    )
    return json_response({"results": hits, "mode": payload.mode} | search.report())


# After the fixed paths: Django takes the first that matches, and an id matches all of them.
@router.get("/memories/{memory_id}", auth=read_access, response={200: MemoryOut, **PROBLEMS})
def get_memory(request: ApiRequest, memory_id: UUID):
    """Get a memory."""
    memory = fetch_memory(request.auth.namespace_id, memory_id)
    if memory is None:
        raise memory_not_found()
    return json_response(memory)


@router.patch("/memories/{memory_id}", auth=write_access, response={200: MemoryOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def update_memory(request: ApiRequest, memory_id: UUID, payload: MemoryPatch):
    """Change the given fields. New content is embedded again; until then searches use the old vector."""
    with transaction.atomic():
        memory = get_memory_queryset(request, memory_id)
        if edit_memory(request.auth.namespace_id, memory, **payload.columns(only_given=True)) is None:
            raise memory_not_found()
        row = Memory.objects.filter(namespace_id=request.auth.namespace_id, pk=memory_id).values(*OUT_COLUMNS).get()
    tasks.embedding_trigger.notify_on_commit()
    return json_response(to_memory_out(row))


@router.delete("/memories/{memory_id}", auth=write_access, response={204: None, **PROBLEMS})
def delete_memory(request: ApiRequest, memory_id: UUID):
    """Delete a memory, its vector and everything that refers to it."""
    if not get_memory_queryset(request, memory_id).delete()[0]:
        raise memory_not_found()
    return HttpResponse(status=204)
