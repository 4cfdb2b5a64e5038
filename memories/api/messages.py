"""/conversations/{id}/messages: add a message, optionally store it as a memory, list messages."""

from contextlib import nullcontext
from typing import Literal
from uuid import UUID

from django.db import transaction
from ninja import Query, Router

from memories import tasks
from memories.expiry import purge_expired_memories
from memories.messages import insert_message, remember_message, should_remember
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.api.conversations import conversation_not_found, get_conversation_queryset
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.models import Message
from sessions_app.schemas.conversations import MESSAGE_COLUMNS, AddedMessageOut, MessageIn, MessagePage
from sessions_app.write_operations import write_operation

router = Router(tags=["conversations"])


@router.post(
    "/conversations/{conversation_id}/messages", auth=write_access, response={201: AddedMessageOut, **PROBLEMS}
)
@write_operation(on_conflict=purge_expired_memories)
def add_message(request: ApiRequest, conversation_id: UUID, payload: MessageIn):
    """Add a message to a conversation. `remember` also stores it as a memory, unless it is too short; equal content
    is stored as one memory. Both are stored or neither. 409 when the conversation has ended."""
    remembered, insights = should_remember(payload), []
    with transaction.atomic() if remembered else nullcontext():
        message = insert_message(request.auth.namespace_id, conversation_id, payload)
        if message is None:
            raise ended_or_not_found(request, conversation_id)
        if remembered:
            insights = remember_message(message, payload)
            tasks.embedding_trigger.notify_on_commit()
    return json_response({name: getattr(message, name) for name in MESSAGE_COLUMNS} | {"insights": insights}, 201)


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
