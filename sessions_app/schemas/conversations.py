"""Request and response schemas of conversations and their messages."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memory_site.core.http.fields import (
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

RoleName = Literal[*Role.values]  # type: ignore[valid-type]  # built from the enum; any value to mypy


class ConversationIn(InputSchema):
    """A conversation to start. Every field is optional."""

    model_config = ConfigDict(json_schema_extra={"example": {"user_id": "ada", "topics": ["harbour"]}})

    session_id: SessionId | None = None
    user_id: UserId | None = None
    topics: Tags = []
    summary: Summary | None = None
    importance: UnitInterval = 0.5
    metadata: JsonObject = {}
    started_at: PastTimestamp | None = Field(None, description="For imported history; now by default.")


class EndIn(InputSchema):
    """Closing details of a conversation. Omitted fields keep their values."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"summary": "The harbour opens at nine.", "topics": ["harbour"], "importance": 0.8}
        }
    )

    summary: Summary | None = None
    topics: Tags | None = None
    importance: UnitInterval | None = None


class MessageIn(InputSchema):
    """A message. `remember` also stores it as a memory, when it is longer than 50 characters without surrounding
    white space."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "role": "user",
                "content": "Our goal is to have the harbour open before the fishermen come home.",
                "remember": True,
            }
        }
    )

    role: RoleName
    content: Content
    agent_id: Label | None = None
    metadata: JsonObject = {}
    created_at: PastTimestamp | None = Field(None, description="For imported history; now by default.")
    remember: bool = False
    memory_type: Literal["agent", "conversation"] = Field(
        "agent", description="Type of the memory, when one is stored."
    )


class ConversationOut(Schema):
    id: UUID
    session_id: str | None
    user_id: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None = Field(description="Null until the conversation has ended.")
    message_count: int
    topics: list[str]
    summary: str | None
    importance: float
    metadata: dict[str, Any]


class ConversationPage(Schema):
    results: list[ConversationOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class MessageOut(Schema):
    id: UUID
    conversation_id: UUID
    role: RoleName
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
