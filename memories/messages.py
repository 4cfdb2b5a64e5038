"""What is said: one statement keeps a message, and the same transaction remembers it when that is asked for."""

import re
from uuid import UUID

from pydantic_core import to_json

from memories.add import add_one
from memories.schemas import MemoryIn
from memories.types import Importance
from memory_site.core.db.ids import uuid7
from sessions_app.models import Message
from sessions_app.schemas.conversations import MessageIn

# What is not longer, "Yes, please." and its like, says nothing once the conversation is over.
MAX_TRIVIAL_LENGTH = 50
IMPORTANT_WORDS = re.compile(r"\b(strateg(y|ies)|goals?|important|priorit(y|ies)|plans?|decisions?)\b", re.IGNORECASE)
# Writers queue for the conversation's row. So each is counted, one who waited while it was ended finds it closed, and
# the clock, which is read under that lock, gives the order of arrival.
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


def insert_message(namespace_id: int, conversation_id: UUID, said: MessageIn) -> Message | None:
    """Keep a message: its row, with `user_id` and `session_id` of the conversation. None when no such conversation is
    open."""
    parameters = said.model_dump(include={"role", "agent_id", "content", "created_at"})
    parameters |= {"id": uuid7(), "namespace": namespace_id, "conversation": conversation_id}
    parameters["metadata"] = to_json(said.metadata).decode()
    return next(iter(Message.objects.raw(INSERT_MESSAGE_SQL, parameters)), None)


def should_remember(said: MessageIn) -> bool:
    return said.remember and len(said.content.strip()) > MAX_TRIVIAL_LENGTH


def remember_message(message: Message, said: MessageIn) -> list[UUID]:
    """Keep what `say` returned as a memory too, inside its transaction: the ids of the insights found in it."""
    row, _ = add_one(message.namespace_id, build_memory(message, said))
    message.memory_id = row["id"]
    message.save(update_fields=["memory_id"])
    return row.get("insights", [])


def build_memory(message: Message, said: MessageIn) -> MemoryIn:
    return MemoryIn(
        content=said.content,
        memory_type=said.memory_type,
        source_system="conversation",
        user_id=message.user_id,
        session_id=message.session_id,
        agent_id=said.agent_id,
        importance=(Importance.MEDIUM if IMPORTANT_WORDS.search(said.content) else Importance.LOW).value,
        metadata={"conversation_id": str(message.conversation_id), "message_id": str(message.pk)},
        created_at=said.created_at,
    )
