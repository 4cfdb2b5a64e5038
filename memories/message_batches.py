"""Add many messages to a conversation, or delete its last ones, in one transaction that holds the conversation."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

from django.db import connection, transaction
from django.db.models import Q

from memories.messages import (
    AddedMessage,
    SessionOfUser,
    find_or_start_conversation,
    forget_memories,
    list_messages_of,
    remember_message,
    should_remember,
)
from memory_site.core.db.ids import uuid7
from memory_site.core.errors import Conflict, DomainError, NotFound
from sessions_app.models import Conversation, Message
from sessions_app.models.conversations import ConversationQuerySet, MessageQuerySet
from sessions_app.schemas.conversations import BatchMessageIn, MessagesIn, SessionMessagesIn

TICK = timedelta(microseconds=1)  # what timestamps of PostgreSQL can tell apart
CLOCK_SQL = """
SELECT greatest(clock_timestamp(), (
    SELECT created_at + interval '1 microsecond' FROM sessions_app_message
    WHERE namespace_id = %s AND conversation_id = %s ORDER BY created_at DESC, id DESC LIMIT 1
))
"""


class CountChanged(DomainError):
    """The conversation has another number of messages than expected."""


class AddedBatch(NamedTuple):
    conversation_id: UUID
    ids: list[UUID]
    added: int
    message_count: int
    insights: list[UUID]


class DeletedBatch(NamedTuple):
    deleted: int
    message_count: int


@transaction.atomic
def add_session_messages(namespace_id: int, payload: SessionMessagesIn) -> AddedBatch:
    """Add messages to the session's latest open conversation, starting one if there is none.

    Raises CountChanged when it has another number of messages than expected.
    """
    session = SessionOfUser(payload.session_id, payload.user_id)
    rows = Conversation.objects.in_namespace(namespace_id)
    conversation = None
    while conversation is None:  # again when the conversation was ended meanwhile
        pk = find_or_start_conversation(namespace_id, session, payload.messages[0].created_at)
        conversation = rows.filter(pk=pk, ended_at=None).select_for_update().first()
    return add_to(conversation, payload)


@transaction.atomic
def add_messages(conversations: ConversationQuerySet, payload: MessagesIn) -> AddedBatch:
    """Add messages to the one conversation that is selected.

    Raises NotFound when there is none, Conflict when it has ended, and CountChanged when it has another number of
    messages than expected.
    """
    conversation = lock_conversation(conversations)
    if conversation.ended_at is not None:
        raise Conflict("The conversation has ended.")
    return add_to(conversation, payload)


def lock_conversation(conversations: ConversationQuerySet) -> Conversation:
    conversation = conversations.select_for_update().first()
    if conversation is None:
        raise NotFound("There is no such conversation.")
    return conversation


def check_count(conversation: Conversation, expected: int | None) -> None:
    if expected not in (None, conversation.message_count):
        raise CountChanged(f"The conversation has {conversation.message_count} messages, not {expected}.")


def add_to(conversation: Conversation, payload: MessagesIn) -> AddedBatch:
    """Add messages to a conversation whose row is locked."""
    check_count(conversation, payload.expected_count)
    ids = [make_message_id(conversation, each) for each in payload.messages]
    new = select_new_messages(conversation, ids, payload.messages)
    rows = list(build_messages(conversation, new))
    Message.objects.bulk_create(rows)
    insights = [found for row in rows for found in remember(conversation, row, new[row.pk])]
    conversation.message_count += len(rows)
    if payload.conversation_metadata is not None:
        conversation.metadata = payload.conversation_metadata
    conversation.save(update_fields=["message_count", "metadata"])
    return AddedBatch(conversation.pk, ids, len(rows), conversation.message_count, insights)


def make_message_id(conversation: Conversation, message: BatchMessageIn) -> UUID:
    """Return a new id or, for a message with a key, the one that this key has in this conversation."""
    return uuid7() if message.key is None else uuid5(conversation.pk, message.key)


def select_new_messages(
    conversation: Conversation, ids: list[UUID], messages: list[BatchMessageIn]
) -> dict[UUID, BatchMessageIn]:
    """Return the messages whose ids the conversation does not have, each once, in the given order."""
    known = set(list_messages_of(conversation).filter(pk__in=ids).values_list("pk", flat=True))
    new: dict[UUID, BatchMessageIn] = {}
    for pk, message in zip(ids, messages, strict=True):
        if pk not in known:
            new.setdefault(pk, message)
    return new


def build_messages(conversation: Conversation, messages: dict[UUID, BatchMessageIn]) -> Iterator[Message]:
    """Yield the rows. The clock is read under the conversation's lock, and the times that are not given rise, so that
    they are the order of arrival."""
    now = read_clock(conversation)
    for number, (pk, message) in enumerate(messages.items()):
        columns = message.model_dump(include={"role", "agent_id", "content", "metadata"})
        yield Message(
            id=pk,
            namespace_id=conversation.namespace_id,
            conversation=conversation,
            created_at=message.created_at or now + number * TICK,
            **columns,
        )


def read_clock(conversation: Conversation) -> datetime:
    """Return the database's time or, where that is not later than the last message, the moment after it."""
    with connection.cursor() as cursor:
        cursor.execute(CLOCK_SQL, [conversation.namespace_id, conversation.pk])
        return cursor.fetchone()[0]


def remember(conversation: Conversation, message: Message, payload: BatchMessageIn) -> list[UUID]:
    """Store the message as a memory too, if that is wanted. Return the ids of the insights found in it."""
    if not should_remember(payload):
        return []
    return remember_message(AddedMessage(message, conversation.user_id, conversation.session_id), payload)


@transaction.atomic
def remove_messages_from(
    conversations: ConversationQuerySet, message_id: UUID, expected_count: int | None, *, forget: bool
) -> DeletedBatch:
    """Delete a message of the one conversation that is selected, and all after it. `forget` also deletes the memories
    made of them.

    Raises NotFound when there is no such conversation or message, and CountChanged when the conversation has another
    number of messages than expected.
    """
    conversation = lock_conversation(conversations)
    messages = select_from(conversation, message_id)
    check_count(conversation, expected_count)
    if forget:
        forget_memories(conversation.namespace_id, messages)
    deleted, _ = messages.delete()
    conversation.message_count -= deleted
    conversation.save(update_fields=["message_count"])
    return DeletedBatch(deleted, conversation.message_count)


def select_from(conversation: Conversation, message_id: UUID) -> MessageQuerySet:
    """Select the message and those after it. Raises NotFound when the conversation has no such message."""
    rows = list_messages_of(conversation)
    created_at = rows.filter(pk=message_id).values_list("created_at", flat=True).first()
    if created_at is None:
        raise NotFound("There is no such message in the conversation.")
    later = Q(created_at__gt=created_at) | Q(pk__gte=message_id)
    return rows.filter(later, created_at__gte=created_at)
