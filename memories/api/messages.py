"""/messages and /conversations/{id}/messages: add a message, optionally store it as a memory, list and delete messages.
Conversations are deleted here too, because their memories may go with them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from ninja import Query, Router

from memories import tasks
from memories.expiry import purge_expired_memories
from memories.message_batches import (
    AddedBatch,
    CountChanged,
    add_messages,
    add_session_messages,
    remove_messages_from,
)
from memories.messages import (
    AddedMessage,
    insert_message,
    insert_session_message,
    remember_message,
    remove_conversation,
    remove_last_message,
    should_remember,
)
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem, ProblemOut
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.api.conversations import conversation_not_found, get_conversation_queryset
from sessions_app.api.conversations import router as conversations
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.models import Message
from sessions_app.schemas.conversations import (
    MESSAGE_COLUMNS,
    AddedMessageOut,
    AddedMessagesOut,
    DeletedMessagesOut,
    MessageCount,
    MessageIn,
    MessageOut,
    MessagePage,
    MessagesIn,
    RoleName,
    SessionMessageIn,
    SessionMessagesIn,
)
from sessions_app.schemas.sessions import SessionId
from sessions_app.write_operations import write_operation

router = Router(tags=["conversations"])
FORGET = Query(
    False,
    description="Also delete the memories made of what is deleted, except those that other messages were remembered as "
    "too.",
)
FROM_ID = Query(description="The first message to delete.")
EXPECTED_COUNT = Query(None, description="Delete only while the conversation has this many messages; otherwise 412.")


@router.post(
    "/conversations/{conversation_id}/messages", auth=write_access, response={201: AddedMessageOut, **PROBLEMS}
)
@write_operation(on_conflict=purge_expired_memories)
def add_message(request: ApiRequest, conversation_id: UUID, payload: MessageIn):
    """Add a message to a conversation. `remember` also stores it as a memory, unless it is too short; equal content of
    the same role is stored as one memory. Both are stored or neither. 409 when the conversation has ended."""
    with transaction.atomic() if should_remember(payload) else nullcontext():
        added = insert_message(request.auth.namespace_id, conversation_id, payload)
        if added is None:
            raise ended_or_not_found(request, conversation_id)
        return finish_message(added, payload)


@router.post("/messages", auth=write_access, response={201: AddedMessageOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_session_message(request: ApiRequest, payload: SessionMessageIn):
    """Add a message to a session's latest open conversation, and start one if there is none. Otherwise the same as
    adding it to a conversation."""
    with transaction.atomic():
        return finish_message(insert_session_message(request.auth.namespace_id, payload), payload)


@router.post(
    "/conversations/{conversation_id}/messages/bulk",
    auth=write_access,
    response={201: AddedMessagesOut, 412: ProblemOut, **PROBLEMS},
)
@write_operation(on_conflict=purge_expired_memories)
def add_many_messages(request: ApiRequest, conversation_id: UUID, payload: MessagesIn):
    """Add up to 1,000 messages to a conversation, all or none, with nothing between them. A message that has no
    `created_at` comes after all that the conversation has. 409 when the conversation has ended."""
    conversations = get_conversation_queryset(request, conversation_id)
    with count_as_condition():
        return finish_messages(add_messages(conversations, payload), payload)


@router.post("/messages/bulk", auth=write_access, response={201: AddedMessagesOut, 412: ProblemOut, **PROBLEMS})
@write_operation(on_conflict=purge_expired_memories)
def add_many_session_messages(request: ApiRequest, payload: SessionMessagesIn):
    """Add up to 1,000 messages to a session's latest open conversation, and start one if there is none. Otherwise the
    same as adding them to a conversation."""
    with count_as_condition():
        return finish_messages(add_session_messages(request.auth.namespace_id, payload), payload)


@contextmanager
def count_as_condition() -> Iterator[None]:
    try:
        yield
    except CountChanged as error:
        raise Problem(412, str(error), errors=[{"field": "expected_count", "message": "is no longer true"}]) from error


def finish_messages(added: AddedBatch, payload: MessagesIn) -> HttpResponse:
    if any(map(should_remember, payload.messages)):
        tasks.embedding_trigger.notify_on_commit()
    return json_response(added._asdict() | {"existing": len(added.ids) - added.added}, 201)


def finish_message(added: AddedMessage, payload: MessageIn) -> HttpResponse:
    """Remember the message, if that is wanted, and return the response to its addition."""
    insights = []
    if should_remember(payload):
        insights = remember_message(added, payload)
        tasks.embedding_trigger.notify_on_commit()
    return json_response({name: getattr(added.message, name) for name in MESSAGE_COLUMNS} | {"insights": insights}, 201)


def ended_or_not_found(request: ApiRequest, conversation_id: UUID) -> Problem:
    if get_conversation_queryset(request, conversation_id).exists():
        return Problem(409, "The conversation has ended.")
    return conversation_not_found()


@router.get("/conversations/{conversation_id}/messages", auth=read_access, response={200: MessagePage, **PROBLEMS})
def list_messages(
    request: ApiRequest,
    conversation_id: UUID,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
    order: Literal["oldest", "newest"] = "oldest",
):
    """List messages, oldest or newest first."""
    rows = Message.objects.in_namespace(request.auth.namespace_id).filter(conversation_id=conversation_id)
    page = paginate(rows, MESSAGE_COLUMNS, limit, cursor, dict, oldest_first=order == "oldest")
    if not page["results"] and not get_conversation_queryset(request, conversation_id).exists():
        raise conversation_not_found()
    return json_response(page)


@router.get("/messages", auth=read_access, response={200: MessagePage, **PROBLEMS})
def list_messages_of_sessions(
    request: ApiRequest,
    session_id: SessionId | None = None,
    agent_id: Label | None = None,
    role: RoleName | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
    order: Literal["oldest", "newest"] = "oldest",
):
    """List messages across conversations, of a session, an agent, or an agent in a session: oldest or newest first."""
    given = {"conversation__session_id": session_id, "agent_id": agent_id, "role": role}
    rows = Message.objects.in_namespace(request.auth.namespace_id)
    rows = rows.filter(**{name: value for name, value in given.items() if value is not None})
    return json_response(paginate(rows, MESSAGE_COLUMNS, limit, cursor, dict, oldest_first=order == "oldest"))


@router.delete(
    "/conversations/{conversation_id}/messages/last", auth=change_access, response={200: MessageOut, **PROBLEMS}
)
@write_operation
def delete_last_message(request: ApiRequest, conversation_id: UUID, forget: bool = FORGET):
    """Delete the last message of a conversation, open or ended, and return it. 404 when there is none."""
    message = remove_last_message(get_conversation_queryset(request, conversation_id), forget=forget)
    if message is None:
        if get_conversation_queryset(request, conversation_id).exists():
            raise Problem(404, "The conversation has no messages.")
        raise conversation_not_found()
    return json_response({name: getattr(message, name) for name in MESSAGE_COLUMNS})


@router.delete(
    "/conversations/{conversation_id}/messages",
    auth=write_access,
    response={200: DeletedMessagesOut, 412: ProblemOut, **PROBLEMS},
)
@write_operation
def delete_messages(
    request: ApiRequest,
    conversation_id: UUID,
    from_id: UUID = FROM_ID,
    expected_count: MessageCount | None = EXPECTED_COUNT,
    forget: bool = FORGET,
):
    """Delete a message of a conversation, open or ended, and all after it."""
    conversations = get_conversation_queryset(request, conversation_id)
    with count_as_condition():
        deleted = remove_messages_from(conversations, from_id, expected_count, forget=forget)
    return json_response(deleted._asdict())


# Of the router that has the address: Django asks no second one for another method.
@conversations.delete("/conversations/{conversation_id}", auth=write_access, response={204: None, **PROBLEMS})
@write_operation
def delete_conversation(request: ApiRequest, conversation_id: UUID, forget: bool = FORGET):
    """Delete a conversation and its messages. The memories made of them stay, unless `forget` is true."""
    if not remove_conversation(get_conversation_queryset(request, conversation_id), forget=forget):
        raise conversation_not_found()
    return HttpResponse(status=204)
