"""Wire shapes of the context and the summary."""

from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.knowledge.schemas.clusters import TaggedClusterOut
from memories.knowledge.schemas.preferences import PreferenceOut
from memories.retrieval.schemas import RecallHitOut
from memories.schemas import FloorIn, FloorOut
from memories.search.filters import UuidIn
from memory_site.core.http.fields import InputSchema, Label, QueryText
from sessions_app.schemas.conversations import MessageOut
from sessions_app.schemas.sessions import SessionId


# Not `ContextIn`: that is the OpenAPI component of a session's context.
class ContextualIn(InputSchema):
    """What the context is for. Only `query` is required."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "renewal of the Acme deal", "user_id": "ada"}})

    query: QueryText
    user_id: Label | None = Field(
        default=None, description="Whose memories and preferences; default: the conversation's user."
    )
    repo_id: Label | None = Field(default=None, description="Only memories of this repository or project.")
    shared: bool = Field(
        default=True, description="Whether what belongs to no user is there for a user as well, beside the user's own."
    )
    conversation_id: UuidIn | None = Field(
        default=None, description="The conversation whose last messages are returned; by default the session's newest."
    )
    session_id: SessionId | None = Field(
        default=None, description="Its newest conversation is used when `conversation_id` is omitted."
    )
    context_type: Label = Field(default="general", description="Echoed back unchanged.")
    limit: int = Field(default=15, ge=1, le=100, description="Maximum number of memories.")
    floor: FloorIn = None


class ContextualOut(Schema):
    context_type: str = Field(description="As in the request.")
    time: datetime = Field(description="When it was put together, in UTC.")
    memories: list[RecallHitOut] = Field(description="Ranked as by recall; no access is counted.")
    preferences: list[PreferenceOut] = Field(description="The user's 100 most recently changed ones.")
    messages: list[MessageOut] = Field(description="The last five, oldest first.")
    clusters: list[TaggedClusterOut] = Field(description="The five most important that share a word with the query.")
    degraded: bool = Field(description="True when the embedder was unavailable and only words were searched.")
    took_ms: float
    floor: FloorOut


class ReembeddingOut(Schema):
    model: str = Field(description="The new model.")
    memories_done: int = Field(description="How many memories have a vector by the new model.")
    memories_total: int | None = Field(description="Null until the memories have been counted.")
    created_at: datetime


class SummaryOut(Schema):
    """Totals of a namespace."""

    total_memories: int = Field(description="How many memories there are.")
    by_type: dict[str, int] = Field(description="How many memories there are, by type.")
    by_user: dict[str, int] = Field(description="The 100 users with the most memories.")
    recent: int = Field(description="Memories of the last 30 days.")
    important: int = Field(description="Memories whose `metadata.important` is true.")
    preferences: int = Field(description="How many preferences there are.")
    clusters: int = Field(description="How many clusters there are.")
    patterns: int = Field(description="How many patterns there are.")
    embedding_backlog: int = Field(description="Memories that still have to be embedded.")
    embedding_refused: int = Field(description="Memories whose text the embedder has rejected.")
    embedding_model: str = Field(description="The model whose vectors are searched.")
    reembedding: ReembeddingOut | None = Field(description="The running change to another model, if any.")
    last_update: datetime | None = Field(description="When a memory was last changed, in UTC; null without memories.")
