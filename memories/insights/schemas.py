"""Request and response shapes of insights."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from memories.insights.models import InsightCollection, InsightType
from memories.insights.parser import MAX_INSIGHT_LENGTH, MIN_INSIGHT_LENGTH
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, MAX_TOPICS_PER_INSIGHT
from memories.schemas import FloorIn, FloorOut, UniqueTags, VectorIn, remove_duplicates
from memories.search.filters import UuidIn
from memory_site.core.http.fields import (
    Content,
    InputSchema,
    JsonObject,
    Label,
    QueryText,
    Text,
    UnitInterval,
    check_visible,
)
from memory_site.core.http.path_labels import PathLabel, UserId

CollectionName = Literal[*InsightCollection.values]  # type: ignore[valid-type]  # derived from the choices
InsightTypeName = Literal[*InsightType.values]  # type: ignore[valid-type]  # derived from the choices
InsightText = Annotated[
    Text, StringConstraints(min_length=MIN_INSIGHT_LENGTH, max_length=MAX_INSIGHT_LENGTH), AfterValidator(check_visible)
]
# The length is checked before duplicates are removed, so that the limit in the description is the real one.
InsightProjects = Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT), AfterValidator(remove_duplicates)]
InsightTopics = Annotated[list[Label], Field(max_length=MAX_TOPICS_PER_INSIGHT), AfterValidator(remove_duplicates)]
INSIGHT_EXAMPLE: JsonDict = {
    "content": "A queryset is lazy: `list()` it before the transaction ends, because the rows are read only then.",
    "projects": ["shop", "billing"],
    "user_id": "ada",
    "tags": ["django"],
}
MARKED_TEXT_EXAMPLE = f"★ Insight ─────\n{INSIGHT_EXAMPLE['content']}\n─────"
#: Fields of InsightOut, with their names on a queryset of memories.
INSIGHT_OUT_COLUMNS = {
    "id": "id", "content": "content", "collection": "insight__collection", "insight_type": "insight__insight_type",
    "topics": "insight__topics", "projects": "insight__projects", "confidence": "confidence",
    "quality": "insight__quality", "usage_count": "insight__usage_count", "last_used_at": "insight__last_used_at",
    "source_memory_id": "insight__source_memory_id", "conversation_id": "insight__conversation_id",
    "user_id": "user_id", "tags": "tags", "created_at": "created_at", "updated_at": "updated_at", "due": "due__due_at",
}  # fmt: skip


class InsightOrigin(InputSchema):
    """Origin and labels of insights."""

    collection: CollectionName = "project"
    projects: InsightProjects = Field(
        default=[], description="The projects that it belongs to; all see it if `collection` is `global`."
    )
    user_id: UserId | None = None
    agent_id: Label | None = None
    session_id: Label | None = None
    workflow_id: PathLabel | None = None
    tags: UniqueTags = []
    metadata: JsonObject = {}
    source_memory_id: UuidIn | None = Field(
        default=None, description="The memory that it was learned from; null for none."
    )
    conversation_id: UuidIn | None = Field(
        default=None, description="The conversation that it was learned in; null for none."
    )


class InsightIn(InsightOrigin):
    """An insight. Type, topics, confidence and quality that are absent are estimated from the text."""

    model_config = ConfigDict(json_schema_extra={"example": INSIGHT_EXAMPLE})

    content: InsightText
    insight_type: InsightTypeName | None = Field(default=None, description="By default estimated from the text.")
    topics: InsightTopics | None = Field(default=None, description="By default estimated from the text.")
    confidence: UnitInterval | None = Field(
        default=None, description="How sure the writer is, from 0 to 1; by default estimated from the text."
    )
    quality: UnitInterval | None = Field(
        default=None, description="How useful it is, from 0 to 1; by default estimated from the text."
    )


class ExtractIn(InsightOrigin):
    """A text with marked insights."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": MARKED_TEXT_EXAMPLE, "projects": ["shop"]}})

    text: Content = Field(description="The text that marks insights, 1 to 100,000 characters.")
    keep: bool = Field(default=True, description="False stores nothing and returns what would be found.")


class InsightSearchIn(InputSchema):
    """`hybrid` searches by words and by meaning; the query `*` finds everything, newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "when are rows read?", "project": "shop"}})

    query: QueryText
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(default=10, ge=1, le=100)
    collection: CollectionName | None = Field(default=None, description="Only insights of this collection.")
    insight_type: InsightTypeName | None = Field(default=None, description="Only insights of this type.")
    project: Label | None = Field(default=None, description="Only insights of this project.")
    min_quality: UnitInterval | None = None
    min_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="Minimum cosine similarity of a hit that has a vector."
    )
    floor: FloorIn = None


class InsightOut(Schema):
    id: UUID = Field(description="Id of the insight's memory.")
    content: str
    collection: str
    insight_type: str
    topics: list[str]
    projects: list[str] = Field(description="A name that looks secret is shown as a hash.")
    confidence: float
    quality: float
    usage_count: int
    last_used_at: datetime | None
    source_memory_id: UUID | None = Field(description="The memory whose text marks it.")
    conversation_id: UUID | None = Field(description="The conversation that it was learned in; null for none.")
    user_id: str | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    embedded: bool


class AddedInsightOut(InsightOut):
    created: bool = Field(description="False if the same insight, or nearly the same, existed.")


class FoundInsightOut(AddedInsightOut):
    """An insight found in a text; without id and times if it was not stored."""

    id: UUID | None  # type: ignore[assignment]  # wider than in a stored insight
    created_at: datetime | None  # type: ignore[assignment]
    updated_at: datetime | None  # type: ignore[assignment]


class ExtractedOut(Schema):
    insights: list[FoundInsightOut] = Field(description="The insights that were found, each once.")
    found: int = Field(description="How many there are.")


class InsightPage(Schema):
    results: list[InsightOut]
    next: str | None
    previous: str | None


class InsightHitOut(Schema):
    insight: InsightOut = Field(description="The insight.")
    score: float = Field(description="0 to 1, comparable within one response; higher is better.")
    similarity: float | None = Field(description="Cosine similarity; null without a vector to compare.")
    text_rank: float | None = Field(description="How well its words match; null if none does.")
    found_by: list[Literal["meaning", "words"]] = Field(description="Empty for the query `*`.")


class InsightSearchOut(Schema):
    results: list[InsightHitOut]
    floor: FloorOut
    degraded: bool = Field(description="True if the embedder was unavailable and only words were searched.")
    took_ms: float


class ProjectTotalOut(Schema):
    project: str
    insights: int = Field(description="How many insights it has.")


class StatisticsOut(Schema):
    total: int = Field(description="How many insights there are.")
    average_confidence: float | None = Field(description="Their average confidence; null without insights.")
    average_quality: float | None = Field(description="Their average quality; null without insights.")
    total_usage: int = Field(description="How often all of them were reported as used.")
    by_type: dict[str, int] = Field(
        description="How many there are, by type.", json_schema_extra={"example": {"gotcha": 8, "pattern": 5}}
    )
    by_collection: dict[str, int] = Field(description="How many there are, by collection.")
    top_projects: list[ProjectTotalOut] = Field(description="The ten projects with the most insights.")


def insight_out(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the columns INSIGHT_OUT_COLUMNS as InsightOut."""
    insight = {name: row[column] for name, column in INSIGHT_OUT_COLUMNS.items()}
    return insight | {"embedded": insight.pop("due") is None}


def insight_out_from_values(values: Sequence[Any]) -> dict[str, Any]:
    """Return values in the order of INSIGHT_OUT_COLUMNS as InsightOut."""
    return insight_out(dict(zip(INSIGHT_OUT_COLUMNS.values(), values, strict=True)))
