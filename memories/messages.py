"""Store a message of a conversation in one statement and, on request, a memory of it in the same transaction; delete
messages, on request with their memories. Many messages are in message_batches.py."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from pydantic_core import to_json

from memories.add import add_one
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.schemas import MemoryIn
from memory_site.core.db.ids import uuid7
from memory_site.core.db.locks import advisory_xact_lock
from sessions_app.models import Conversation, Message
from sessions_app.models.conversations import MessageQuerySet
from sessions_app.schemas.conversations import MessageIn, SessionMessageIn

# Shorter messages, such as "Yes, please.", mean nothing outside their conversation.
MAX_TRIVIAL_LENGTH = 50
# The function is in migration 0008_locking_functions of sessions_app.
ADD_MESSAGE_SQL = """
SELECT * FROM sessions_add_message(
    %(namespace)s, %(conversation)s, %(id)s, %(role)s, %(agent_id)s, %(content)s, %(metadata)s::jsonb,
    %(created_at)s::timestamptz
)
"""


class AddedMessage(NamedTuple):
    """A message, with user and session of its conversation."""

    message: Message
    user_id: str | None
    session_id: str | None


def insert_message(namespace_id: int, conversation_id: UUID, payload: MessageIn) -> AddedMessage | None:
    """Insert a message. Return None when there is no such open conversation."""
    columns = payload.model_dump(include={"role", "agent_id", "content", "created_at"}) | {"id": uuid7()}
    parameters = {
        "namespace": namespace_id,
        "conversation": conversation_id,
        "metadata": to_json(payload.metadata).decode(),
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD_MESSAGE_SQL, columns | parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    columns |= {"created_at": row[0], "metadata": payload.metadata}
    return AddedMessage(Message(namespace_id=namespace_id, conversation_id=conversation_id, **columns), *row[1:])


def should_remember(payload: MessageIn) -> bool:
    return payload.remember and len(payload.content.strip()) > MAX_TRIVIAL_LENGTH


def remember_message(added: AddedMessage, payload: MessageIn) -> list[UUID]:
    """Store a message from `insert_message` as a memory too; return the ids of the insights found in it.

    Run this in the transaction of the insert, so that both are stored or neither.
    """
    message = added.message
    row, _ = add_one(message.namespace_id, build_memory(added, payload))
    message.memory_id = row["id"]
    Message.objects.filter(namespace_id=message.namespace_id, pk=message.pk).update(memory_id=row["id"])
    return row.get("insights", [])


def build_memory(added: AddedMessage, payload: MessageIn) -> MemoryIn:
    message = added.message
    memory = MemoryIn(
        content=payload.content,
        memory_type=MemoryType(payload.memory_type),
        source_system=payload.source_system,
        user_id=added.user_id,
        session_id=added.session_id,
        agent_id=payload.agent_id,
        importance=payload.importance,
        created_at=payload.created_at,
    )
    origin = {"role": message.role, "conversation_id": str(message.conversation_id), "message_id": str(message.pk)}
    memory.metadata = payload.metadata | origin  # not validated again: the limits are those of the caller's part
    return memory


def insert_session_message(namespace_id: int, payload: SessionMessageIn) -> AddedMessage:
    """Insert a message into the session's latest open conversation, starting one if there is none.

    Run this in a transaction: it holds the session until the end, so that of two first messages one starts the
    conversation.
    """
    session = SessionOfUser(payload.session_id, payload.user_id)
    added = None
    while added is None:  # again when the conversation was ended meanwhile
        conversation = find_or_start_conversation(namespace_id, session, payload.created_at)
        added = insert_message(namespace_id, conversation, payload)
    return added


class SessionOfUser(NamedTuple):
    """A session and, if one is given, the user whose conversation is wanted."""

    session_id: str
    user_id: str | None


def find_or_start_conversation(namespace_id: int, session: SessionOfUser, started_at: datetime | None) -> UUID:
    """Return the id of the session's latest open conversation; start one, now or at the given time, if there is none.

    Run this in a transaction: it holds the session until the end, so that of two first messages one starts the
    conversation.
    """
    conversation = find_open_conversation(namespace_id, session)
    if conversation is None:
        advisory_xact_lock(f"first message {namespace_id} {session.session_id}")
        conversation = find_open_conversation(namespace_id, session)
    return conversation or start_conversation(namespace_id, session, started_at)


def find_open_conversation(namespace_id: int, session: SessionOfUser) -> UUID | None:
    """Return the id of the session's latest open conversation, of the user if one is given."""
    rows = Conversation.objects.in_namespace(namespace_id).filter(session_id=session.session_id, ended_at=None)
    if session.user_id is not None:
        rows = rows.filter(user_id=session.user_id)
    return rows.order_by("-started_at", "-id").values_list("pk", flat=True).first()


def start_conversation(namespace_id: int, session: SessionOfUser, started_at: datetime | None) -> UUID:
    time = {} if started_at is None else {"started_at": started_at}
    return Conversation.objects.create(namespace_id=namespace_id, **session._asdict(), **time).pk


@transaction.atomic
def remove_conversation(conversations: QuerySet[Conversation], *, forget: bool) -> bool:
    """Delete the one conversation that is selected; the database deletes its messages. `forget` also deletes the
    memories made of them. Return False when there is none."""
    conversation = conversations.select_for_update().first()
    if conversation is None:
        return False
    if forget:
        forget_memories(conversation.namespace_id, list_messages_of(conversation))
    conversation.delete()
    return True


@transaction.atomic
def remove_last_message(conversations: QuerySet, *, forget: bool) -> Message | None:
    """Delete and return the last message of the one conversation that is selected. `forget` also deletes the memory
    made of it. Return None when there is no such conversation, or no message."""
    conversation = conversations.select_for_update().first()
    if conversation is None:
        return None
    message = list_messages_of(conversation).order_by("-created_at", "-id").first()
    if message is not None:
        if forget:
            forget_memories(message.namespace_id, list_messages_of(conversation).filter(pk=message.pk))
        message.delete()
        conversation.message_count = F("message_count") - 1
        conversation.save(update_fields=["message_count"])
    return message


def list_messages_of(conversation: Conversation) -> MessageQuerySet:
    return Message.objects.in_namespace(conversation.namespace_id).filter(conversation=conversation)


def forget_memories(namespace_id: int, messages: MessageQuerySet) -> None:
    """Delete the memories made of these messages, except those that other messages were remembered as too."""
    others = Message.objects.in_namespace(namespace_id).filter(memory_id=OuterRef("pk"))
    others = others.exclude(pk__in=messages.values("pk"))
    remembered = messages.exclude(memory_id=None).values("memory_id")
    Memory.objects.filter(~Exists(others), namespace_id=namespace_id, pk__in=remembered).delete()
