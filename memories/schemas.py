"""Request and response schemas of memories, and the columns behind them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from memories.embeddings.base import DIMENSIONS
from memories.entity_ids import complete_entity_id
from memories.memory_types import Importance, MemoryType
from memories.search.filters import Filters, MemoryTypeIn, UuidIn
from memories.states import State
from memories.summaries import SUMMARY_BUILDERS, build_summary
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import (
    Content,
    FutureTimestamp,
    InputSchema,
    JsonObject,
    Key,
    Label,
    PastTimestamp,
    QueryText,
    Summary,
    Tags,
    UnitInterval,
)
from memory_site.core.http.path_labels import PathLabel, RepoId, UserId

MAX_REPLACED = 100
KEY_OF_ENTITY = "may not be set together: a memory has a key, or describes an entity, which is known by its id"
MAX_TTL_SECONDS = int(timedelta(days=100 * 365).total_seconds())
MEMORY_EXAMPLE: dict[str, Any] = {
    "content": "Ada prefers answers in bullet points.",
    "memory_type": "user_preference",
    "source_system": "agno",
    "user_id": "ada",
    "tags": ["style"],
    "metadata": {"important": True},
}


def normalize_vector(numbers: list[float]) -> list[float]:
    """Scale to unit length, as float32. Raises ValueError for the zero vector."""
    vector = np.asarray(numbers, np.float64)
    largest = np.abs(vector).max(initial=0)
    if largest == 0:
        raise ValueError("may not be the zero vector")
    vector /= largest  # first, so that the norm of huge or tiny numbers neither overflows nor underflows
    return (vector / np.linalg.norm(vector)).astype(np.float32).tolist()


def remove_duplicates(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


VectorIn = Annotated[
    list[float],
    Field(
        min_length=DIMENSIONS,
        max_length=DIMENSIONS,
        fail_fast=True,
        description="768 numbers by the server's embedding model; the server then computes none.",
    ),
    AfterValidator(normalize_vector),
]
UniqueTags = Annotated[Tags, AfterValidator(remove_duplicates)]
ImportanceLevel = Annotated[int, Field(ge=1, le=5, description="1 TRIVIAL, 2 LOW, 3 MEDIUM, 4 HIGH, 5 CRITICAL.")]


class EntityIn(InputSchema):
    """The object of an external system that a memory describes."""

    system: Label = Field(description="The system that has the record, such as `salesforce`.")
    id: Label = Field(description="The record's id in that system.")
    type: Label | None = Field(
        default=None, description="What kind of record it is, such as `Account`; null if unknown."
    )
    name: Label | None = Field(default=None, description="The record's name; null if unknown.")

    @model_validator(mode="after")
    def complete_id(self) -> "EntityIn":
        """Store a record of Salesforce by its id of 18 characters, whichever was given."""
        self.id = complete_entity_id(self.system, self.id)
        return self


class MemoryFields(InputSchema):
    """The fields of a memory that a caller may set."""

    summary: Summary | None = None
    data: JsonObject | None = None
    metadata: JsonObject = {}
    memory_type: MemoryTypeIn = MemoryType.AGENT
    source_system: Label = "api"
    user_id: UserId | None = None
    agent_id: Label | None = None
    workflow_id: PathLabel | None = None
    repo_id: RepoId | None = None
    session_id: Label | None = None
    importance: ImportanceLevel = Importance.MEDIUM.value
    confidence: UnitInterval = 1.0
    base_relevance: UnitInterval = 1.0
    tags: UniqueTags = []
    key: Key | None = Field(
        default=None, description="Your own name of the memory, unique for its user: it finds and replaces it."
    )
    entity: EntityIn | None = None
    expires_at: FutureTimestamp | None = None

    def columns(self, *, only_given: bool = False) -> dict[str, Any]:
        """Return the values by column name."""
        values = self.model_dump(exclude_unset=only_given)
        values.pop("ttl_seconds", None)
        values.pop("replaces", None)
        if "entity" in values:
            entity = values.pop("entity") or {}
            values |= {f"entity_{part}": entity.get(part) for part in ("system", "id", "type", "name")}
        return values


class MemoryIn(MemoryFields):
    """A memory to store. Only `content` is required."""

    model_config = ConfigDict(json_schema_extra={"example": MEMORY_EXAMPLE})

    id: UuidIn | None = Field(
        default=None, description="A UUID that you made, for a new memory; by default the server makes one."
    )
    content: Content
    ttl_seconds: int | None = Field(default=None, ge=1, le=MAX_TTL_SECONDS, description="Instead of `expires_at`.")
    vector: VectorIn | None = None
    created_at: PastTimestamp | None = Field(default=None, description="For imported history; default: now.")
    replaces: list[UuidIn] = Field(
        default=[],
        max_length=MAX_REPLACED,
        description="Memories of the same user that this one replaces: no search finds them any more.",
    )

    @model_validator(mode="after")
    def fill_summary(self) -> "MemoryIn":
        if self.summary is None and self.data and self.memory_type in SUMMARY_BUILDERS:
            self.summary = build_summary(self.memory_type, self.data)
        return self

    @model_validator(mode="after")
    def check_identity(self) -> "MemoryIn":
        if self.key is not None and self.entity is not None:
            raise field_error("entity", KEY_OF_ENTITY)
        return self

    @model_validator(mode="after")
    def resolve_expiry(self) -> "MemoryIn":
        if self.ttl_seconds is not None:
            if self.expires_at is not None:
                raise field_error("ttl_seconds", "may not be given with expires_at")
            self.expires_at = datetime.now(UTC) + timedelta(seconds=self.ttl_seconds)
        return self


class KeyedMemoryIn(MemoryIn):
    """A memory to store under the key and for the user of the address, which the body may repeat."""

    model_config = ConfigDict(
        json_schema_extra={"example": {name: MEMORY_EXAMPLE[name] for name in MEMORY_EXAMPLE if name != "user_id"}}
    )


class MemoryPatch(MemoryFields):
    """The fields to change; others stay as they are. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"importance": 5, "tags": ["style", "confirmed"]}})

    content: Content = None  # type: ignore[assignment]  # may be absent, but not null


class BulkIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"memories": [MEMORY_EXAMPLE]}})

    memories: list[MemoryIn] = Field(
        min_length=1, max_length=1000, description="1 to 1,000 memories, all of which are stored, or none."
    )


class DeleteIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"filters": {"user_id": "ada"}, "dry_run": True}})

    filters: Filters
    dry_run: bool = False


FloorIn = Annotated[
    UnitInterval | None,
    Field(
        description="How clear of noise a hit must be, by the share of the query's words that it contains or by its"
        " similarity above that of nonsense: 0 returns whatever is nearest, null is the model's own level."
    ),
]
FloorOut = Annotated[float, Field(description="The level that was applied, from 0 (none) to 1.")]


class SearchIn(InputSchema):
    """At least one of `query` and `vector`. Hybrid fuses words and meaning. A `vector` without a floor needs no
    embedder."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"query": "how should replies to Ada look?", "filters": {"user_id": "ada"}}}
    )

    query: QueryText | None = None
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(default=10, ge=1, le=100)
    threshold: float | None = Field(
        default=None, ge=-1, le=1, description="Minimum cosine similarity of hits that only their meaning found."
    )
    floor: FloorIn = 0
    filters: Filters | None = None
    explain: bool = Field(default=False, description="Whether each hit tells how it was searched for.")

    @model_validator(mode="after")
    def require_query_or_vector(self) -> "SearchIn":
        if self.query is None and (self.vector is None or self.mode == "text"):
            raise field_error("query", "is required" if self.mode == "text" else "query or vector is required")
        return self


class EntityOut(Schema):
    system: str = Field(description="The system that has the record, such as `salesforce`.")
    id: str = Field(description="The record's id in that system.")
    type: str | None = Field(description="What kind of record it is, such as `Account`; null if unknown.")
    name: str | None = Field(description="The record's name; null if unknown.")


class MemoryOut(Schema):
    id: UUID
    content: str
    summary: str | None
    data: dict[str, Any] | None
    metadata: dict[str, Any]
    memory_type: MemoryType
    source_system: str
    user_id: str | None
    agent_id: str | None
    workflow_id: str | None
    repo_id: str | None
    session_id: str | None
    importance: int
    confidence: float
    base_relevance: float
    tags: list[str]
    key: str | None = Field(description="The caller's own name of it, unique for its user; null for none.")
    entity: EntityOut | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    last_accessed_at: datetime | None
    access_count: int
    update_count: int = Field(description="How often its entity was stored again.")
    last_updated: datetime | None = Field(description="When its entity was last stored again.")
    revision: int = Field(description="Every change moves it, reading does not; in quotes it is the `ETag`.")
    state: State = Field(description="Only active memories are found by searches and, unless asked for, listed.")
    superseded_by: UUID | None = Field(description="The memory that replaced this one.")
    embedded: bool = Field(description="Whether its current content is embedded, so that it can be found by meaning.")


class AddedOut(MemoryOut):
    created: bool = Field(description="False when the same content, or its entity, was stored already.")
    insights: list[UUID] | None = Field(
        default=None, description="Ids of the insights marked in the content; absent when the content has no marker."
    )


class BulkOut(Schema):
    created: int = Field(description="How many are new.")
    existing: int = Field(description="How many were stored already, or are repeated in the request.")
    ids: list[UUID] = Field(description="In the order of the request.")
    embedded: bool | None = Field(
        default=None, description="Whether all can be found by their meaning; absent without `wait`."
    )


class MemoryPage(Schema):
    results: list[MemoryOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class DeleteOut(Schema):
    matched: int = Field(description="How many memories match.")
    deleted: int = Field(description="How many were deleted; 0 in a dry run.")


class HitOut(Schema):
    memory: MemoryOut
    score: float = Field(description="0 to 1, comparable within one response; higher is better.")
    similarity: float | None = Field(description="Cosine similarity; null when there is no vector to compare.")
    text_rank: float | None = Field(description="How well its words match; null when no word does.")
    found_by: list[Literal["meaning", "words"]]
    explain: dict[str, Any] | None = Field(
        default=None,
        description="How many rows the filters kept, and whether all their vectors were compared; only if asked for.",
    )


class SearchOut(Schema):
    results: list[HitOut]
    mode: Literal["hybrid", "vector", "text"]
    degraded: bool = Field(description="True when the embedder was unavailable and only words were searched.")
    floor: FloorOut
    took_ms: float


OUT_COLUMNS = (
    "id", "content", "summary", "data", "metadata", "memory_type", "source_system", "user_id", "agent_id",
    "workflow_id", "repo_id", "session_id", "importance", "confidence", "tags", "key", "entity_system", "entity_id",
    "entity_type", "entity_name", "created_at", "updated_at", "expires_at", "last_accessed_at", "access_count",
    "base_relevance", "update_count", "last_updated", "revision", "state", "superseded_by", "due__due_at",
)  # fmt: skip


def qualify_out_columns(memory: str, namespace: str = "%(namespace)s") -> str:
    """Return OUT_COLUMNS for a SQL statement in which the memory has this alias. `namespace` is SQL for its namespace:
    a parameter, unless the statement reads several."""
    own = ", ".join(f"{memory}.{column}" for column in OUT_COLUMNS[:-1])
    return f"{own}, {due_at_sql(memory, namespace)}"


def due_at_sql(memory: str, namespace: str = "%(namespace)s") -> str:
    """Return the expression for `due__due_at`: NULL for a memory that is embedded."""
    due = f"due.namespace_id = {namespace} AND due.memory_id = {memory}.id"
    return f"(SELECT due.due_at FROM memories_dueembedding due WHERE {due})"


TIMESTAMP_COLUMNS = ("created_at", "updated_at", "expires_at", "last_accessed_at", "last_updated")


def format_timestamp_sql(column: str) -> str:
    """Return the expression that formats a time as in responses, for JSON that PostgreSQL builds."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def build_out_members_sql(memory: str) -> str:
    """Return MemoryOut as columns of a SQL statement, for responses with so many memories that PostgreSQL builds the
    JSON: in Python a thousand cost twice what reading them does. The statement has a parameter `namespace`."""
    plain = [
        f"{memory}.{name}"
        for name in OUT_COLUMNS[:-1]
        if not name.startswith("entity_") and name not in TIMESTAMP_COLUMNS
    ]
    timestamps = [f"{format_timestamp_sql(f'{memory}.{name}')} AS {name}" for name in TIMESTAMP_COLUMNS]
    parts = ", ".join(f"'{part}', {memory}.entity_{part}" for part in ("system", "id", "type", "name"))
    entity = f"CASE WHEN {memory}.entity_id IS NOT NULL THEN json_build_object({parts}) END AS entity"
    embedded = f"{memory}.state = 'active' AND {due_at_sql(memory)} IS NULL AS embedded"
    return ", ".join([*plain, *timestamps, entity, embedded])


def to_memory_out(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row of OUT_COLUMNS into MemoryOut, in place. Return a plain dictionary: building and validating models
    costs more than the query."""
    entity = {part: row.pop(f"entity_{part}") for part in ("system", "id", "type", "name")}
    row["entity"] = entity if entity["id"] is not None else None
    row["embedded"] = row.pop("due__due_at") is None and row["state"] == State.ACTIVE
    return row
