"""/conversations: start, list, get, change and end. Their messages are in memories/api/messages.py."""

from typing import Any
from uuid import UUID

from django.db import transaction
from ninja import Query, Router

from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, change_access, read_access, write_access
from sessions_app.models import Conversation
from sessions_app.models.conversations import ConversationQuerySet
from sessions_app.schemas.conversations import (
    CONVERSATION_COLUMNS,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    ConversationPatch,
    EndIn,
    check_order,
)
from sessions_app.schemas.sessions import SessionId
from sessions_app.write_operations import write_operation

router = Router(tags=["conversations"])
SESSION_PREFIX = Query(None, description="The beginning of the session ids.")
# The function is in migration 0008_locking_functions.
END_CONVERSATION_SQL = """
SELECT * FROM sessions_end_conversation(
    %(namespace)s, %(conversation)s, %(ended_at)s::timestamptz, %(summary)s, %(topics)s::varchar[],
    %(importance)s::float8
)
"""


def get_conversation_queryset(request: ApiRequest, conversation_id: UUID) -> ConversationQuerySet:
    """Return a query for the caller's conversation."""
    return Conversation.objects.in_namespace(request.auth.namespace_id).filter(pk=conversation_id)


def conversation_not_found() -> Problem:
    return Problem(404, "There is no such conversation.")


def conversation_out(conversation: Conversation) -> dict[str, Any]:
    return {name: getattr(conversation, name) for name in CONVERSATION_COLUMNS}


@router.post("/conversations", auth=write_access, response={201: ConversationOut, **PROBLEMS})
@write_operation
def start_conversation(request: ApiRequest, payload: ConversationIn):
    """Start a conversation. No clean-up removes it."""
    started_at, ended_at = payload.resolve_times()
    fields = payload.model_dump() | {"started_at": started_at, "ended_at": ended_at}
    given = {name: value for name, value in fields.items() if value is not None}
    conversation = Conversation.objects.create(namespace_id=request.auth.namespace_id, **given)
    return json_response(conversation_out(conversation), 201)


@router.get("/conversations", auth=read_access, response={200: ConversationPage, **PROBLEMS})
def list_conversations(
    request: ApiRequest,
    session_id: SessionId | None = None,
    session_prefix: Label | None = SESSION_PREFIX,
    user_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List conversations, the latest start first."""
    rows = Conversation.objects.in_namespace(request.auth.namespace_id)
    if session_id is not None:
        rows = rows.filter(session_id=session_id)
    if session_prefix is not None:
        rows = rows.filter(session_id__startswith=session_prefix)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    return json_response(paginate(rows, CONVERSATION_COLUMNS, limit, cursor, dict, moment="started_at"))


@router.get("/conversations/{conversation_id}", auth=read_access, response={200: ConversationOut, **PROBLEMS})
def get_conversation(request: ApiRequest, conversation_id: UUID):
    """Get one conversation."""
    row = get_conversation_queryset(request, conversation_id).values(*CONVERSATION_COLUMNS).first()
    if row is None:
        raise conversation_not_found()
    return json_response(row)


@router.patch("/conversations/{conversation_id}", auth=change_access, response={200: ConversationOut, **PROBLEMS})
@write_operation
def update_conversation(request: ApiRequest, conversation_id: UUID, payload: ConversationPatch):
    """Change a conversation. `ended_at: null` opens an ended one again. Its messages and their memories stay."""
    changes = payload.model_dump(exclude_unset=True)
    with transaction.atomic():
        conversation = get_conversation_queryset(request, conversation_id).select_for_update().first()
        if conversation is None:
            raise conversation_not_found()
        for name, value in changes.items():
            setattr(conversation, name, value)
        check_order(
            conversation.started_at, conversation.ended_at, "ended_at" if "ended_at" in changes else "started_at"
        )
        if changes:
            conversation.save(update_fields=changes)
    return get_conversation(request, conversation_id)


@router.post("/conversations/{conversation_id}/end", auth=change_access, response={200: ConversationOut, **PROBLEMS})
@write_operation
def end_conversation(request: ApiRequest, conversation_id: UUID, payload: EndIn | None = None):
    """End a conversation, after which it accepts no messages. Ending it again keeps the first end, but updates the
    given fields."""
    parameters = {"conversation": conversation_id, "namespace": request.auth.namespace_id}
    parameters |= (payload or EndIn()).model_dump()
    conversation = next(iter(Conversation.objects.raw(END_CONVERSATION_SQL, parameters)), None)
    if conversation is None:
        if get_conversation_queryset(request, conversation_id).exists():
            raise InvalidField("ended_at", "may not lie before started_at")
        raise conversation_not_found()
    return json_response(conversation_out(conversation))
