"""/memories: add, get, update, delete, list and search."""

from contextlib import nullcontext
from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import from_json, to_json

from memories import tasks
from memories.add import add_many, add_one
from memories.api.versions import (
    CONDITIONAL_PROBLEMS,
    IfMatch,
    IfNoneAreThere,
    IfNoneMatch,
    lock_revision,
    memory_response,
    memory_response_unless_known,
)
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
from memories.search.filters import Filters, MetadataChoices
from memories.states import State
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.http.fields import JsonObject, Key, Label, Tags
from memory_site.core.http.parsing import read_json
from memory_site.core.http.preconditions import Preconditions, precondition_failed, read_absence, read_preconditions
from memory_site.core.http.problems import Problem, invalid_field
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, delete_access, read_access, write_access
from sessions_app.idempotency import idempotent
from sessions_app.models import READ
from sessions_app.write_operations import write_operation

router = Router(tags=["memories"])
WAIT_SECONDS = 20.0
WAIT_DESCRIPTION = f"Respond when the memory is embedded, or after {WAIT_SECONDS:.0f} seconds."
WAIT_FOR_ALL_DESCRIPTION = f"Respond when all are embedded, or after {WAIT_SECONDS:.0f} seconds."
ONE_IS_THERE = "One of them is there already; none was stored."
#: Of a memory that was there already a key without `read` is given what it sent, not what others have stored.
CONTENTS = {"content", "summary", "data", "metadata", "tags", "entity"}
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


def parse_json_parameters(value: Any) -> Any:
    """Parse the JSON objects of a parameter that may be repeated."""
    return [parse_json_parameter(each) for each in ensure_list(value)]


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
    entity_ids: Annotated[list[Label], BeforeValidator(ensure_list)] | None = Field(
        None, description="Only memories of records with one of these ids."
    )
    keys: Annotated[list[Key], BeforeValidator(ensure_list)] | None = Field(
        None, description="Only memories with one of these keys."
    )
    metadata: Annotated[JsonObject, BeforeValidator(parse_json_parameter)] | None = Field(
        None, description="A JSON object that the memory's metadata contain."
    )
    any_metadata: Annotated[MetadataChoices, BeforeValidator(parse_json_parameters)] = Field(
        None, description="JSON objects, at least one of which the memory's metadata contain."
    )
    without_metadata: Annotated[MetadataChoices, BeforeValidator(parse_json_parameters)] = Field(
        None, description="JSON objects, none of which the memory's metadata contain."
    )


def get_memory_queryset(request: ApiRequest, memory_id: UUID) -> MemoryQuerySet:
    return select_memory(request.auth.namespace_id, memory_id)


def memory_not_found() -> Problem:
    return Problem(404, "There is no such memory.")


@router.post("/memories", auth=write_access, response={200: AddedOut, 201: AddedOut, **PROBLEMS})
def add_memory(request: ApiRequest, payload: MemoryIn, wait: bool = Query(False, description=WAIT_DESCRIPTION)):
    """Store a memory. Its words can be searched at once, its meaning as soon as a worker has embedded it; `wait=true`
    waits for that. The same content, type and user is stored once: 200 and `created: false`. With a `key` it replaces
    the memory of the user that has this key, as `PUT /memories/by-key/{key}` does."""
    response = store_memory_safely(request, payload)
    if wait:
        wait_until_embedded(request, response)
    return response


def store_memory(request: ApiRequest, payload: MemoryIn) -> HttpResponse:
    """Store the memory in a transaction of the caller's, or in one statement."""
    row, created = add_one(request.auth.namespace_id, payload, request.auth.embedding_model)
    tasks.embedding_trigger.notify_on_commit()
    stored = to_memory_out(row) | {"created": created}
    if not (created or request.auth.has_scope(READ)):
        stored |= payload.model_dump(include=CONTENTS)
    return memory_response(stored, 201 if created else 200)


store_memory_safely = write_operation(on_conflict=purge_expired_memories)(store_memory)


def wait_until_embedded(request: ApiRequest, response: HttpResponse) -> None:
    """Wait, after the transaction, until the memory of this response is embedded, and correct `embedded` in it.

    Reads the body, because a response replayed for an Idempotency-Key exists only as bytes.
    """
    memory = from_json(response.content)
    if not memory["embedded"]:
        memory["embedded"] = embed_now(request.auth.namespace_id, [UUID(memory["id"])], WAIT_SECONDS)
        response.content = to_json(memory)


@router.post("/memories/bulk", auth=write_access, response={201: BulkOut, **CONDITIONAL_PROBLEMS})
def add_memories(
    request: ApiRequest,
    payload: BulkIn,
    wait: bool = Query(False, description=WAIT_FOR_ALL_DESCRIPTION),
    if_none_match: IfNoneAreThere = None,
):
    """Store up to 1,000 memories: all, or none when one is invalid (`errors` names its position). Of several with the
    same key and user the last is stored. With `If-None-Match: *` none is stored, and the answer is 412, when one of
    them is there already, by its key, its content or its entity."""
    response = store_memories(request, payload, only_new=read_absence(if_none_match) is not None)
    if wait:
        wait_until_all_embedded(request, response)
    return response


@write_operation(on_conflict=purge_expired_memories)
def store_memories(request: ApiRequest, payload: BulkIn, *, only_new: bool) -> HttpResponse:
    """Store the memories; if `only_new`, none unless each is new. Raises Problem 412."""
    with transaction.atomic() if only_new else nullcontext():  # what a 412 undoes
        ids, created = add_many(request.auth.namespace_id, payload.memories, request.auth.embedding_model)
        if only_new and created < len(set(ids)):
            raise precondition_failed(ONE_IS_THERE)
    tasks.embedding_trigger.notify_on_commit()
    return json_response({"created": created, "existing": len(ids) - created, "ids": ids}, 201)


def wait_until_all_embedded(request: ApiRequest, response: HttpResponse) -> None:
    """Wait, after the transaction, until the memories of this response are embedded, and add `embedded` to it."""
    stored = from_json(response.content)
    ids = [UUID(each) for each in stored["ids"]]
    response.content = to_json(stored | {"embedded": embed_now(request.auth.namespace_id, ids, WAIT_SECONDS)})


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
@router.get("/memories/{memory_id}", auth=read_access, response={200: MemoryOut, 304: None, **CONDITIONAL_PROBLEMS})
def get_memory(request: ApiRequest, memory_id: UUID, if_match: IfMatch = None, if_none_match: IfNoneMatch = None):
    """Get a memory. 304 without a body when `If-None-Match` has its `ETag`."""
    conditions = read_preconditions(if_match, if_none_match)
    memory = fetch_memory(request.auth.namespace_id, memory_id)
    if memory is None:
        raise memory_not_found()
    return memory_response_unless_known(memory, conditions)


@router.patch("/memories/{memory_id}", auth=change_access, response={200: MemoryOut, **CONDITIONAL_PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def update_memory(
    request: ApiRequest,
    memory_id: UUID,
    payload: MemoryPatch,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
):
    """Change the given fields. New content is embedded again; until then searches use the old vector. With `If-Match`
    only what the caller has read is changed; 412 if something else changed it meanwhile."""
    conditions, changes = read_preconditions(if_match, if_none_match), payload.columns(only_given=True)
    with transaction.atomic():
        memory = get_memory_queryset(request, memory_id)
        if edit_memory(request.auth.namespace_id, memory, conditions.check, **changes) is None:
            raise memory_not_found()
        row = Memory.objects.filter(namespace_id=request.auth.namespace_id, pk=memory_id).values(*OUT_COLUMNS).get()
    tasks.embedding_trigger.notify_on_commit()
    return memory_response(to_memory_out(row))


@router.delete("/memories/{memory_id}", auth=write_access, response={204: None, **CONDITIONAL_PROBLEMS})
def delete_memory(request: ApiRequest, memory_id: UUID, if_match: IfMatch = None, if_none_match: IfNoneMatch = None):
    """Delete a memory, its vector and everything that refers to it. With `If-Match` only what the caller has read."""
    return delete_one(get_memory_queryset(request, memory_id), read_preconditions(if_match, if_none_match))


@retry_on_deadlock
def delete_one(memory: MemoryQuerySet, conditions: Preconditions) -> HttpResponse:
    """Delete the one memory that is selected. Raises Problem 404 or 412."""
    with transaction.atomic() if conditions else nullcontext():
        if conditions and (revision := lock_revision(memory)) is not None:
            conditions.check(revision)
        if not memory.delete()[0]:
            raise memory_not_found()
    return HttpResponse(status=204)
