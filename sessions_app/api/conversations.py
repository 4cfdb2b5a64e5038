"""/conversations: start, list, get and end. Messages, which may be remembered, are in memories/messages_api.py."""

from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from memory_site.core.db.retry import surviving_deadlocks
from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import page
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, answer
from sessions_app.auth import reads, writes
from sessions_app.idempotency import idempotent
from sessions_app.models import Conversation
from sessions_app.models.conversations import ConversationQuerySet
from sessions_app.schemas.conversations import (
    CONVERSATION_COLUMNS,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    EndIn,
)
from sessions_app.schemas.sessions import SessionId

router = Router(tags=["conversations"])
# The first end stands. A start may lie a moment ahead: it was taken from another clock.
END = """
UPDATE sessions_app_conversation SET
    ended_at = coalesce(ended_at, greatest(started_at, clock_timestamp())),
    summary = coalesce(%(summary)s::text, summary),
    topics = coalesce(%(topics)s::varchar[], topics),
    importance = coalesce(%(importance)s::float8, importance)
WHERE id = %(conversation)s AND namespace_id = %(namespace)s
RETURNING *
"""


def the_conversation(request: HttpRequest, conversation_id: UUID) -> ConversationQuerySet:
    """The caller's conversation, if there is one."""
    return Conversation.objects.in_namespace(request.auth.namespace_id).filter(pk=conversation_id)


def missing() -> Problem:
    return Problem(404, "There is no such conversation.")


def conversation_out(conversation: Conversation) -> dict:
    return {name: getattr(conversation, name) for name in CONVERSATION_COLUMNS}


@router.post("/conversations", auth=writes, response={201: ConversationOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def start_conversation(request: HttpRequest, payload: ConversationIn):
    """Start a conversation. No clean-up ever removes it."""
    given = {name: value for name, value in payload.model_dump().items() if value is not None}
    conversation = Conversation.objects.create(namespace_id=request.auth.namespace_id, **given)
    return answer(conversation_out(conversation), 201)


@router.get("/conversations", auth=reads, response={200: ConversationPage, **PROBLEMS})
def list_conversations(
    request: HttpRequest,
    session_id: SessionId | None = None,
    user_id: Label | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """Conversations, the one started last first."""
    rows = Conversation.objects.in_namespace(request.auth.namespace_id)
    if session_id is not None:
        rows = rows.filter(session_id=session_id)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    return answer(page(rows, CONVERSATION_COLUMNS, limit, cursor, dict, moment="started_at"))


@router.get("/conversations/{conversation_id}", auth=reads, response={200: ConversationOut, **PROBLEMS})
def get_conversation(request: HttpRequest, conversation_id: UUID):
    """One conversation."""
    row = the_conversation(request, conversation_id).values(*CONVERSATION_COLUMNS).first()
    if row is None:
        raise missing()
    return answer(row)


@router.post("/conversations/{conversation_id}/end", auth=writes, response={200: ConversationOut, **PROBLEMS})
@surviving_deadlocks
@idempotent
def end_conversation(request: HttpRequest, conversation_id: UUID, payload: EndIn | None = None):
    """End a conversation: nothing can be said in it any more. What has ended keeps its end; what is named here is
    changed all the same."""
    given = (payload or EndIn()).model_dump()
    whose = {"conversation": conversation_id, "namespace": request.auth.namespace_id}
    conversation = next(iter(Conversation.objects.raw(END, given | whose)), None)
    if conversation is None:
        raise missing()
    return answer(conversation_out(conversation))
