"""/conversations: start, list, get and end. Messages, which may be remembered, are in memories/messages_api.py."""

from uuid import UUID

from ninja import Query, Router

from memory_site.core.http.fields import Label
from memory_site.core.http.pagination import paginate
from memory_site.core.http.problems import Problem
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
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
from sessions_app.write_operations import write_operation

router = Router(tags=["conversations"])
# The first end stands. A start may lie a moment ahead: it was taken from another clock.
END_CONVERSATION_SQL = """
UPDATE sessions_app_conversation SET
    ended_at = coalesce(ended_at, greatest(started_at, clock_timestamp())),
    summary = coalesce(%(summary)s::text, summary),
    topics = coalesce(%(topics)s::varchar[], topics),
    importance = coalesce(%(importance)s::float8, importance)
WHERE id = %(conversation)s AND namespace_id = %(namespace)s
RETURNING *
"""


def get_conversation_queryset(request: ApiRequest, conversation_id: UUID) -> ConversationQuerySet:
    """The caller's conversation, if there is one."""
    return Conversation.objects.in_namespace(request.auth.namespace_id).filter(pk=conversation_id)


def conversation_not_found() -> Problem:
    return Problem(404, "There is no such conversation.")


def conversation_out(conversation: Conversation) -> dict:
    return {name: getattr(conversation, name) for name in CONVERSATION_COLUMNS}


@router.post("/conversations", auth=write_access, response={201: ConversationOut, **PROBLEMS})
@write_operation
def start_conversation(request: ApiRequest, payload: ConversationIn):
    """Start a conversation. No clean-up ever removes it."""
    given = {name: value for name, value in payload.model_dump().items() if value is not None}
    conversation = Conversation.objects.create(namespace_id=request.auth.namespace_id, **given)
    return json_response(conversation_out(conversation), 201)


@router.get("/conversations", auth=read_access, response={200: ConversationPage, **PROBLEMS})
def list_conversations(
    request: ApiRequest,
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
    return json_response(paginate(rows, CONVERSATION_COLUMNS, limit, cursor, dict, moment="started_at"))


@router.get("/conversations/{conversation_id}", auth=read_access, response={200: ConversationOut, **PROBLEMS})
def get_conversation(request: ApiRequest, conversation_id: UUID):
    """One conversation."""
    row = get_conversation_queryset(request, conversation_id).values(*CONVERSATION_COLUMNS).first()
    if row is None:
        raise conversation_not_found()
    return json_response(row)


@router.post("/conversations/{conversation_id}/end", auth=write_access, response={200: ConversationOut, **PROBLEMS})
@write_operation
def end_conversation(request: ApiRequest, conversation_id: UUID, payload: EndIn | None = None):
    """End a conversation: nothing can be said in it any more. What has ended keeps its end; what is named here is
    changed all the same."""
    given = (payload or EndIn()).model_dump()
    whose = {"conversation": conversation_id, "namespace": request.auth.namespace_id}
    conversation = next(iter(Conversation.objects.raw(END_CONVERSATION_SQL, given | whose)), None)
    if conversation is None:
        raise conversation_not_found()
    return json_response(conversation_out(conversation))
