"""/conversations/{id}/messages: say something, have it remembered, read what was said."""

from contextlib import nullcontext
from typing import Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest
from ninja import Query, Router

from memories import tasks
from memories.expiry import making_way
from memories.messages import is_to_be_remembered, remember, say
from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.api.conversations import missing, the_conversation
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent
from sessions_app.models import Message
from sessions_app.schemas.conversations import MESSAGE_COLUMNS, AddedMessageOut, MessageIn, MessagePage

router = Router(tags=["conversations"])


@router.post("/conversations/{conversation_id}/messages", auth=writes, response={201: AddedMessageOut, **PROBLEMS})
@surviving_deadlocks
@making_way
@idempotent
def add_message(request: HttpRequest, conversation_id: UUID, payload: MessageIn):
    """Say something in a conversation. `remember` makes a memory of it as well, unless it is too short to be worth
    that; the same content again is the same memory. Both are kept or neither. 409 when the conversation has ended."""
    remembered, insights = is_to_be_remembered(payload), []
    with transaction.atomic() if remembered else nullcontext():
        message = say(request.auth.namespace_id, conversation_id, payload)
        if message is None:
            raise not_open(request, conversation_id)
        if remembered:
            insights = remember(message, payload)
            tasks.bell.ring()
    return answer({name: getattr(message, name) for name in MESSAGE_COLUMNS} | {"insights": insights}, 201)


def not_open(request: HttpRequest, conversation_id: UUID) -> Problem:
    if the_conversation(request, conversation_id).exists():
        return Problem(409, "The conversation has ended.")
    return missing()


@router.get("/conversations/{conversation_id}/messages", auth=reads, response={200: MessagePage, **PROBLEMS})
def list_messages(
    request: HttpRequest,
    conversation_id: UUID,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
    order: Literal["oldest", "newest"] = "oldest",
):
    """What was said, the oldest first, or the newest."""
    rows = Message.objects.in_namespace(request.auth.namespace_id).filter(conversation_id=conversation_id)
    found = page(rows, MESSAGE_COLUMNS, limit, cursor, dict, oldest_first=order == "oldest")
    if not found["results"] and not the_conversation(request, conversation_id).exists():
        raise missing()
    return answer(found)
