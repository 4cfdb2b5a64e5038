"""What insights look like on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from memories.insights.parser import MAX_INSIGHT_LENGTH, MIN_INSIGHT_LENGTH
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT, MAX_TOPICS_PER_INSIGHT
from memories.schemas import UniqueTags, VectorIn, remove_duplicates
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

CollectionName = Literal["project", "global"]
InsightTypeName = Literal["pattern", "architecture", "best_practice", "gotcha", "general"]
InsightText = Annotated[
    Text, StringConstraints(min_length=MIN_INSIGHT_LENGTH, max_length=MAX_INSIGHT_LENGTH), AfterValidator(check_visible)
]
# Counted before repeats are dropped, so that the description's bound is the real one.
InsightProjects = Annotated[list[Label], Field(max_length=MAX_PROJECTS_PER_INSIGHT), AfterValidator(remove_duplicates)]
InsightTopics = Annotated[list[Label], Field(max_length=MAX_TOPICS_PER_INSIGHT), AfterValidator(remove_duplicates)]
INSIGHT_EXAMPLE = {
    "content": "A queryset is lazy: `list()` it before the transaction ends, because the rows are read only then.",
    "projects": ["shop", "billing"],
    "user_id": "ada",
    "tags": ["django"],
}
MARKED_TEXT_EXAMPLE = f"★ Insight ─────\n{INSIGHT_EXAMPLE['content']}\n─────"
#: Of MemoryOut and Insight, by the names they have on a queryset of memories, and on the wire.
INSIGHT_OUT_COLUMNS = {
    "id": "id", "content": "content", "collection": "insight__collection", "insight_type": "insight__insight_type",
    "topics": "insight__topics", "projects": "insight__projects", "confidence": "confidence",
    "quality": "insight__quality", "usage_count": "insight__usage_count", "last_used_at": "insight__last_used_at",
    "source_memory_id": "insight__source_memory_id", "conversation_id": "insight__conversation_id",
    "user_id": "user_id", "tags": "tags", "created_at": "created_at", "updated_at": "updated_at", "due": "due__due_at",
}  # fmt: skip


class InsightOrigin(InputSchema):
    """Where insights come from and whom they concern."""

    collection: CollectionName = "project"
    projects: InsightProjects = []
    user_id: Label | None = None
    agent_id: Label | None = None
    session_id: Label | None = None
    workflow_id: Label | None = None
    tags: UniqueTags = []
    metadata: JsonObject = {}
    source_memory_id: UuidIn | None = None
    conversation_id: UuidIn | None = None


class InsightIn(InsightOrigin):
    """What was learned. What is not said, its type, topics, confidence and quality, is judged by its words."""

    model_config = ConfigDict(json_schema_extra={"example": INSIGHT_EXAMPLE})

    content: InsightText
    insight_type: InsightTypeName | None = None
    topics: InsightTopics | None = None
    confidence: UnitInterval | None = None
    quality: UnitInterval | None = None


class ExtractIn(InsightOrigin):
    """A text in which insights are marked."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": MARKED_TEXT_EXAMPLE, "projects": ["shop"]}})

    text: Content
    keep: bool = Field(True, description="False only tells what would be found.")


class InsightSearchIn(InputSchema):
    """Hybrid finds by words and by meaning; `*` is everything, newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "when are rows read?", "project": "shop"}})

    query: QueryText
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(10, ge=1, le=100)
    collection: CollectionName | None = None
    insight_type: InsightTypeName | None = None
    project: Label | None = None
    min_quality: UnitInterval | None = None
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Least cosine similarity of a hit, wherever there is a vector to compare."
    )


class InsightOut(Schema):
    id: UUID = Field(description="Of its memory.")
    content: str
    collection: str
    insight_type: str
    topics: list[str]
    projects: list[str] = Field(description="A name that looks secret is told by its hash.")
    confidence: float
    quality: float
    usage_count: int
    last_used_at: datetime | None
    source_memory_id: UUID | None = Field(description="The memory in whose text it was marked.")
    conversation_id: UUID | None
    user_id: str | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    embedded: bool


class AddedInsightOut(InsightOut):
    created: bool = Field(description="False when the same, or nearly the same, was there already.")


class FoundInsightOut(AddedInsightOut):
    """Where nothing is kept there is no id and no moment."""

    id: UUID | None
    created_at: datetime | None
    updated_at: datetime | None


class ExtractedOut(Schema):
    insights: list[FoundInsightOut]
    found: int


class InsightPage(Schema):
    results: list[InsightOut]
    next: str | None
    previous: str | None


class InsightHitOut(Schema):
    insight: InsightOut
    score: float = Field(description="0 to 1, comparable within one answer; higher is better.")
    similarity: float | None = Field(description="Cosine similarity; null when there is no vector to compare.")
    text_rank: float | None = Field(description="How well its words match; null when none does.")
    found_by: list[Literal["meaning", "words"]] = Field(description="Empty where everything was asked for.")


class InsightSearchOut(Schema):
    results: list[InsightHitOut]
    degraded: bool = Field(description="True when the embedder was away and only words were searched.")
    took_ms: float


class ProjectTotalOut(Schema):
    project: str
    insights: int


class StatisticsOut(Schema):
    total: int
    average_confidence: float | None
    average_quality: float | None
    total_usage: int
    by_type: dict[str, int]
    by_collection: dict[str, int]
    top_projects: list[ProjectTotalOut] = Field(description="The ten with the most insights.")


def insight_out(row: dict[str, Any]) -> dict[str, Any]:
    """A row of memories, with the values of COLUMNS, as InsightOut."""
    found = {name: row[column] for name, column in INSIGHT_OUT_COLUMNS.items()}
    return found | {"embedded": found.pop("due") is None}


def insight_out_from_values(values: Sequence[Any]) -> dict[str, Any]:
    """The same of values in the order of COLUMNS."""
    return insight_out(dict(zip(INSIGHT_OUT_COLUMNS.values(), values, strict=True)))
