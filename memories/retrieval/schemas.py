"""Schemas of recall, retrieval, forgetting and the end of a task."""

from typing import Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field, model_validator

from memories.retrieval.task_decay import MAX_AGE_HOURS
from memories.schemas import FloorOut, HitOut, MemoryOut
from memories.search.filters import MemoryTypeIn, UuidIn
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import InputSchema, Label, QueryText, Tags, UnitInterval


class RecallHitOut(HitOut):
    score: float = Field(description="0 to 1: the score of the search times weights; higher is better.")
    relevance: float = Field(description="0.05 to 1, by age and use; before this access.")


class RecallOut(Schema):
    results: list[RecallHitOut]
    mode: Literal["hybrid", "vector", "text"]
    degraded: bool = Field(description="True when the embedder was unavailable and only words were searched.")
    floor: FloorOut
    took_ms: float


class RetrieveIn(InputSchema):
    """The query, and filters that are applied before the search."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"query": "open deals with Acme", "max_age_hours": 720, "excluded_tags": ["old"]}}
    )

    query: QueryText
    limit: int = Field(default=10, ge=1, le=100)
    memory_types: list[MemoryTypeIn] | None = Field(default=None, min_length=1, max_length=64)
    max_age_hours: float | None = Field(
        default=None, ge=0, le=MAX_AGE_HOURS, description="Since the memory was last stored or updated."
    )
    required_tags: Tags | None = Field(default=None, min_length=1, description="All of these.")
    excluded_tags: Tags | None = Field(default=None, min_length=1, description="None of these.")
    min_relevance: UnitInterval | None = Field(default=None, description="The present relevance.")
    near: list[UuidIn] = Field(
        default=[], max_length=100, description="Memories of the user near which the search takes place."
    )

    def filters(self) -> dict[str, Any]:
        """Return the fields of RetrievalFilters."""
        filters = self.model_dump(include={"memory_types", "max_age_hours", "excluded_tags", "min_relevance"})
        return filters | {"tags": self.required_tags}


class PartsOut(Schema):
    """The parts of a score, each from 0 to 1."""

    words: float = Field(description="How much of the query its words match.")
    meaning: float = Field(description="How near its meaning is to that of the query.")
    nearness: float = Field(description="1 for a memory given as `near`, less for each relationship away from one.")
    recency: float = Field(description="1 for a memory stored now, half for each day of its age.")
    base_relevance: float


class RetrievedHitOut(Schema):
    memory: MemoryOut
    score: float = Field(description="0 to 1; 1 for the entity whose id the query names.")
    relevance: float = Field(description="0.05 to 1, by age and use; before this access.")
    similarity: float | None
    text_rank: float | None
    found_by: list[Literal["id", "meaning", "words"]] = Field(
        description="What found it: the id of its entity, its meaning, its words."
    )
    parts: PartsOut | None = Field(description="Null for entities found by their id.")


class RetrievedOut(Schema):
    results: list[RetrievedHitOut]
    degraded: bool = Field(description="True when the embedder was unavailable and only words were searched.")
    took_ms: float


class ForgetIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"older_than_hours": 720, "dry_run": True}})

    older_than_hours: float = Field(ge=0, le=MAX_AGE_HOURS, description="Since the memory was last stored or updated.")
    memory_types: list[MemoryTypeIn] | None = Field(
        default=None, min_length=1, max_length=64, description="Only these."
    )
    dry_run: bool = False


class FinishTaskIn(InputSchema):
    """The finished task, by its session, its workflow, or both."""

    model_config = ConfigDict(json_schema_extra={"example": {"session_id": "monday"}})

    session_id: Label | None = Field(default=None, description="The session of the task.")
    workflow_id: Label | None = Field(default=None, description="The workflow of the task.")

    @model_validator(mode="after")
    def require_task(self) -> "FinishTaskIn":
        if self.session_id is None and self.workflow_id is None:
            raise field_error("session_id", "session_id or workflow_id is required")
        return self


class FinishTaskOut(Schema):
    lowered: int = Field(description="The number of memories whose relevance was halved.")
