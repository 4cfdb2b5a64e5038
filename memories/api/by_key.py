"""/memories/by-key/{key}: memories under the caller's own names."""

from django.db import transaction
from django.http import HttpResponse
from django.urls import register_converter
from django.urls.converters import StringConverter
from ninja import Path, Query, Router

from memories.api.memories import (
    WAIT_DESCRIPTION,
    delete_one,
    memory_not_found,
    store_memory,
    store_memory_safely,
    wait_until_embedded,
)
from memories.api.versions import (
    CONDITIONAL_PROBLEMS,
    IfMatch,
    IfNoneMatch,
    lock_revision,
    memory_response_unless_known,
)
from memories.expiry import purge_expired_memories
from memories.insights.capture import may_contain_insights
from memories.insights.storage import lock_namespace_insights
from memories.reads import fetch_memory_by_key, select_memory_by_key
from memories.schemas import KEY_OF_ENTITY, AddedOut, KeyedMemoryIn, MemoryOut
from memory_site.core.http.fields import Key, Label
from memory_site.core.http.path_labels import UserId
from memory_site.core.http.preconditions import CHANGED, Preconditions, precondition_failed, read_preconditions
from memory_site.core.http.problems import invalid_field
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

CREATED = 201


class AnyText(StringConverter):
    """The rest of an address: with slashes and, unlike Django's `path`, with ends of lines."""

    regex = "(?s:.+)"


register_converter(AnyText, "any")
router = Router(tags=["memories"])
KEY_PATH = "/memories/by-key/{any:key}"
KEY_IN_PATH = Path(..., description="The memory's key, which may contain slashes.")
USER_IN_QUERY = Query(None, description="The user that the memory belongs to; by default none.")


@router.put(KEY_PATH, auth=write_access, response={200: AddedOut, 201: AddedOut, **CONDITIONAL_PROBLEMS})
def put_memory_by_key(
    request: ApiRequest,
    payload: KeyedMemoryIn,
    key: Key = KEY_IN_PATH,
    user_id: UserId | None = USER_IN_QUERY,
    wait: bool = Query(False, description=WAIT_DESCRIPTION),
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
):
    """Store a memory under a key, or replace the one that has it: its id, its relationships and `created_at` stay, all
    else is as in the request, or the default. It is never merged with another one of the same content."""
    memory, conditions = name_memory(payload, key, user_id), read_preconditions(if_match, if_none_match)
    response = store_if(request, memory, conditions) if conditions else store_memory_safely(request, memory)
    if wait:
        wait_until_embedded(request, response)
    return response


@write_operation(on_conflict=purge_expired_memories)
@transaction.atomic
def store_if(request: ApiRequest, memory: KeyedMemoryIn, conditions: Preconditions) -> HttpResponse:
    """Store the memory if what its key names meets the conditions. Raises Problem 412.

    The row is locked before it is looked at, and the insights before that, as every writer does.
    """
    if may_contain_insights(memory):
        lock_namespace_insights(request.auth.namespace_id)
    revision = lock_revision(select_memory_by_key(request.auth.namespace_id, memory.user_id, str(memory.key)))
    conditions.check(revision)
    response = store_memory(request, memory)
    if (response.status_code == CREATED) != (revision is None):  # another request stored it, or it has just expired
        raise precondition_failed(CHANGED)
    return response


@router.get(KEY_PATH, auth=read_access, response={200: MemoryOut, 304: None, **CONDITIONAL_PROBLEMS})
def get_memory_by_key(
    request: ApiRequest,
    key: Key = KEY_IN_PATH,
    user_id: Label | None = USER_IN_QUERY,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
):
    """Get the memory with this key. 304 without a body when `If-None-Match` has its `ETag`."""
    conditions = read_preconditions(if_match, if_none_match)
    memory = fetch_memory_by_key(request.auth.namespace_id, user_id, key)
    if memory is None:
        raise memory_not_found()
    return memory_response_unless_known(memory, conditions)


@router.delete(KEY_PATH, auth=write_access, response={204: None, **CONDITIONAL_PROBLEMS})
def delete_memory_by_key(
    request: ApiRequest,
    key: Key = KEY_IN_PATH,
    user_id: Label | None = USER_IN_QUERY,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
):
    """Delete the memory with this key, as by its id."""
    memory = select_memory_by_key(request.auth.namespace_id, user_id, key)
    return delete_one(memory, read_preconditions(if_match, if_none_match))


def name_memory(memory: KeyedMemoryIn, key: str, user_id: str | None) -> KeyedMemoryIn:
    """Return the memory of a body under the key and the user of its address. Raises Problem 422 if it names others."""
    address = {"key": key, "user_id": user_id}
    for field, value in address.items():
        if field in memory.model_fields_set and getattr(memory, field) != value:
            raise invalid_field(field, "must be that of the address, or be left out")
    if memory.entity is not None:
        raise invalid_field("entity", KEY_OF_ENTITY)
    return memory.model_copy(update=address)
