"""Store a message of a conversation in one statement and, on request, a memory of it in the same transaction."""

import re
from uuid import UUID

from pydantic_core import to_json

from memories.add import add_one
from memories.memory_types import Importance, MemoryType
from memories.schemas import MemoryIn
from memory_site.core.db.ids import uuid7
from sessions_app.models import Message
from sessions_app.schemas.conversations import MessageIn

# Shorter messages, such as "Yes, please.", mean nothing outside their conversation.
MAX_TRIVIAL_LENGTH = 50
IMPORTANT_WORDS = re.compile(r"\b(strateg(y|ies)|goals?|important|priorit(y|ies)|plans?|decisions?)\b", re.IGNORECASE)
# The conversation's row is locked first. So every message is counted, a writer that waited while the conversation was
# ended finds it closed, and created_at, read under that lock, gives the order of arrival. One statement, where update()
# and create() in a transaction would take four.
INSERT_MESSAGE_SQL = """
WITH open AS (
    UPDATE sessions_app_conversation SET message_count = message_count + 1
    WHERE id = %(conversation)s AND namespace_id = %(namespace)s AND ended_at IS NULL
    RETURNING id, namespace_id, user_id, session_id
)
INSERT INTO sessions_app_message (id, namespace_id, conversation_id, role, agent_id, content, metadata, created_at)
SELECT %(id)s::uuid, namespace_id, id, %(role)s, %(agent_id)s, %(content)s, %(metadata)s::jsonb,
       coalesce(%(created_at)s::timestamptz, clock_timestamp())
FROM open
RETURNING *, (SELECT user_id FROM open) AS user_id, (SELECT session_id FROM open) AS session_id
"""


def insert_message(namespace_id: int, conversation_id: UUID, payload: MessageIn) -> Message | None:
    """Insert a message and return it, with `user_id` and `session_id` of the conversation.

    Return None when there is no such open conversation.
    """
    parameters = payload.model_dump(include={"role", "agent_id", "content", "created_at"})
    parameters |= {"id": uuid7(), "namespace": namespace_id, "conversation": conversation_id}
    parameters["metadata"] = to_json(payload.metadata).decode()
    return next(iter(Message.objects.raw(INSERT_MESSAGE_SQL, parameters)), None)


def should_remember(payload: MessageIn) -> bool:
    return payload.remember and len(payload.content.strip()) > MAX_TRIVIAL_LENGTH


def remember_message(message: Message, payload: MessageIn) -> list[UUID]:
    """Store a message from `insert_message` as a memory too; return the ids of the insights found in it.

    Run this in the transaction of the insert, so that both are stored or neither.
    """
    row, _ = add_one(message.namespace_id, build_memory(message, payload))
    message.memory_id = row["id"]
    message.save(update_fields=["memory_id"])
    return row.get("insights", [])


def build_memory(message: Message, payload: MessageIn) -> MemoryIn:
    return MemoryIn(
        content=payload.content,
        memory_type=MemoryType(payload.memory_type),
        source_system="conversation",
        user_id=message.user_id,  # type: ignore[attr-defined]  # INSERT_MESSAGE_SQL returns it
        session_id=message.session_id,  # type: ignore[attr-defined]  # likewise
        agent_id=payload.agent_id,
        importance=(Importance.MEDIUM if IMPORTANT_WORDS.search(payload.content) else Importance.LOW).value,
        metadata={"conversation_id": str(message.conversation_id), "message_id": str(message.pk)},
        created_at=payload.created_at,
    )
