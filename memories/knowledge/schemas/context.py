"""What contextual knowledge, the summary and forgetting look like on the wire."""

from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.knowledge.schemas.clusters import TaggedClusterOut
from memories.knowledge.schemas.preferences import PreferenceOut
from memories.retrieval.schemas import RecallHitOut
from memories.search.filters import UuidIn
from memory_site.core.http.fields import InputSchema, Label, QueryText
from sessions_app.schemas.conversations import MessageOut
from sessions_app.schemas.sessions import SessionId


# In the API's description a session has the context that is only called so.
class ContextualIn(InputSchema):
    """What is going on. Only `query` is required."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "renewal of the Acme deal", "user_id": "ada"}})

    query: QueryText
    user_id: Label | None = Field(None, description="Whose memories and preferences; that of the conversation.")
    conversation_id: UuidIn | None = None
    session_id: SessionId | None = Field(None, description="Its newest conversation, when none is named.")
    context_type: Label = Field("general", description="A word of yours, told back.")
    limit: int = Field(15, ge=1, le=100, description="Memories at most.")


class ContextualOut(Schema):
    context_type: str
    time: datetime
    memories: list[RecallHitOut] = Field(description="Ranked as recall does; no access is counted.")
    preferences: list[PreferenceOut] = Field(description="Of the user, the 100 that changed last.")
    messages: list[MessageOut] = Field(description="The last five, oldest first.")
    clusters: list[TaggedClusterOut] = Field(description="The five most important that share a word with the query.")
    degraded: bool = Field(description="True when the embedder was away and only words were searched.")


class ReembeddingOut(Schema):
    model: str
    memories_done: int
    memories_total: int | None = Field(description="Null until they are counted.")
    created_at: datetime


class SummaryOut(Schema):
    """What a namespace holds."""

    total_memories: int
    by_type: dict[str, int]
    by_user: dict[str, int] = Field(description="The 100 users with the most memories.")
    recent: int = Field(description="Memories of the last 30 days.")
    important: int = Field(description="Memories whose `metadata.important` is true.")
    preferences: int
    clusters: int
    patterns: int
    embedding_backlog: int = Field(description="Memories whose vector is still to come.")
    embedding_refused: int = Field(description="Memories whose text the embedder refuses.")
    embedding_model: str = Field(description="The one whose vectors searches meet.")
    reembedding: ReembeddingOut | None = Field(description="The model that is about to take its place.")
    last_update: datetime | None


class ForgetOutdatedIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"dry_run": True}})

    dry_run: bool = False
