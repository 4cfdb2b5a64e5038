"""Request and response schemas of conversations and their messages."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import (
    OMITTED,
    Content,
    InputSchema,
    JsonObject,
    Label,
    PastTimestamp,
    Summary,
    Tags,
    UnitInterval,
)
from memory_site.core.http.path_labels import UserId
from sessions_app.models.conversations import Role
from sessions_app.schemas.sessions import SessionId

#: Most messages of one request.
MAX_MESSAGES = 1000
MessageCount = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"example": 2})]
RoleName = Literal[*Role.values]  # type: ignore[valid-type]  # built from the enum; any value to mypy


class ConversationIn(InputSchema):
    """A conversation to start. Every field is optional."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "ada", "topics": ["harbour"]}})

    session_id: SessionId | None = None
    user_id: UserId | None = None
    topics: Tags = []
    summary: Summary | None = None
    importance: UnitInterval = Field(default=0.5, description="How important it is, from 0 to 1.")
    metadata: JsonObject = {}
    started_at: PastTimestamp | None = Field(
        default=None, description="For imported history; by default now, or `ended_at` if that is earlier."
    )
    ended_at: PastTimestamp | None = Field(
        default=None, description="Of a conversation that is over and takes no messages."
    )

    def resolve_times(self) -> tuple[datetime | None, datetime | None]:
        """Return start and end, a start of None meaning now. Raises InvalidField for an end before the start."""
        if self.started_at is None:
            return self.ended_at, self.ended_at
        check_order(self.started_at, self.ended_at, "ended_at")
        return self.started_at, self.ended_at


def check_order(started_at: datetime, ended_at: datetime | None, field: str) -> None:
    """Check that the end is not before the start. Raises InvalidField naming `field`, the time that was given."""
    if ended_at is not None and ended_at < started_at:
        raise InvalidField(field, f"may not lie {'before started_at' if field == 'ended_at' else 'after ended_at'}")


class ConversationPatch(InputSchema):
    """The fields to change; omitted ones stay. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"topics": ["harbour", "tides"], "importance": 0.8}})

    topics: Tags = OMITTED
    summary: Summary | None = None
    importance: UnitInterval = Field(OMITTED, description="How important it is, from 0 to 1.")
    metadata: JsonObject = OMITTED
    started_at: PastTimestamp = Field(OMITTED, description="When it started, in UTC.")
    ended_at: PastTimestamp | None = Field(default=None, description="Ends it at this time; null opens it again.")


class EndIn(InputSchema):
    """Closing details of a conversation. Omitted fields keep their values."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"summary": "The harbour opens at nine.", "topics": ["harbour"], "importance": 0.8}
        }
    )

    summary: Summary | None = None
    topics: Tags | None = None
    importance: UnitInterval | None = Field(default=None, description="How important it was, from 0 to 1.")
    ended_at: PastTimestamp | None = Field(default=None, description="For imported history; now by default.")


class MessageIn(InputSchema):
    """A message. `remember` also stores it as a memory, when it is longer than 50 characters without surrounding
    white space. The memory has the message's metadata, and `role`, `conversation_id` and `message_id` in it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "role": "user",
                "content": "Our goal is to have the harbour open before the fishermen come home.",
                "remember": True,
            }
        }
    )

    role: RoleName = Field(description="Who wrote it.")
    content: Content
    agent_id: Label | None = None
    metadata: JsonObject = {}
    created_at: PastTimestamp | None = Field(default=None, description="For imported history; now by default.")
    remember: bool = Field(default=False, description="Whether to store it as a memory too.")
    memory_type: Literal["agent", "conversation"] = Field(
        default="agent", description="Type of the memory, when one is stored."
    )
    source_system: Label = Field(default="conversation", description="Source of the memory, when one is stored.")
    importance: int = Field(
        default=3,
        ge=1,
        le=5,
        description="Of the memory, when one is stored: 1 TRIVIAL, 2 LOW, 3 MEDIUM, 4 HIGH, 5 CRITICAL.",
    )


class SessionMessageIn(MessageIn):
    """A message of a session. It belongs to the session's latest open conversation; without one, one is started."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "session_id": "monday",
                "agent_id": "planner",
                "role": "assistant",
                "content": "The harbour opens at nine.",
            }
        }
    )

    session_id: SessionId
    user_id: Label | None = Field(
        default=None, description="Whose conversation it is; by default the latest of the session, of any user."
    )


class BatchMessageIn(MessageIn):
    """One of many messages."""

    key: Label | None = Field(
        default=None,
        description="The caller's name for it: when the conversation has a message with this key, it is skipped.",
    )


class MessagesIn(InputSchema):
    """Messages to add together, all or none, in this order and with nothing between them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "messages": [
                    {"role": "user", "content": "When do we sail?"},
                    {"role": "assistant", "content": "At nine."},
                ]
            }
        }
    )

    messages: list[BatchMessageIn] = Field(min_length=1, max_length=MAX_MESSAGES, description="In this order.")
    conversation_metadata: JsonObject | None = Field(
        default=None, description="Replaces the conversation's `metadata`, in the same transaction."
    )
    expected_count: MessageCount | None = Field(
        default=None, description="Add them only while the conversation has this many messages; otherwise 412."
    )


class SessionMessagesIn(MessagesIn):
    """Messages of a session. They belong to its latest open conversation; without one, one is started."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "session_id": "monday",
                "messages": [{"role": "assistant", "content": "The harbour opens at nine."}],
            }
        }
    )

    session_id: SessionId
    user_id: Label | None = Field(
        default=None, description="Whose conversation it is; by default the latest of the session, of any user."
    )


class AddedMessagesOut(Schema):
    conversation_id: UUID = Field(description="The conversation that has the messages now.")
    ids: list[UUID] = Field(description="Of the messages, in the order in which they were given.")
    added: int = Field(description="How many were stored.")
    existing: int = Field(description="How many were skipped, because the conversation has messages with their keys.")
    message_count: int = Field(description="How many messages the conversation has now.")
    insights: list[UUID] = Field(description="Memories of the insights found in the messages.")


class DeletedMessagesOut(Schema):
    deleted: int = Field(description="How many messages were deleted.")
    message_count: int = Field(description="How many messages the conversation has now.")


class ConversationOut(Schema):
    id: UUID
    session_id: str | None
    user_id: str | None
    started_at: datetime = Field(description="When it started, in UTC.")
    ended_at: datetime | None = Field(description="When it ended, in UTC; null while it goes on.")
    duration_seconds: float | None = Field(description="Null until the conversation has ended.")
    message_count: int = Field(description="How many messages it has.")
    topics: list[str]
    summary: str | None
    importance: float = Field(description="How important it is, from 0 to 1.", json_schema_extra={"example": 0.8})
    metadata: dict[str, Any]


class ConversationPage(Schema):
    results: list[ConversationOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class MessageOut(Schema):
    id: UUID
    conversation_id: UUID
    role: RoleName = Field(description="Who wrote it.")
    agent_id: str | None
    content: str
    metadata: dict[str, Any]
    memory_id: UUID | None = Field(description="The memory stored for it; null when there is none, or no longer.")
    created_at: datetime


class AddedMessageOut(MessageOut):
    insights: list[UUID] = Field(description="Memories of the insights found in the message.")


class MessagePage(Schema):
    results: list[MessageOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


CONVERSATION_COLUMNS = tuple(ConversationOut.model_fields)
MESSAGE_COLUMNS = tuple(MessageOut.model_fields)
