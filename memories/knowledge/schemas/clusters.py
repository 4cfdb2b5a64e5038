"""Wire shapes of clusters."""

from datetime import datetime
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.knowledge.schemas.fields import NEXT_CURSOR_DESCRIPTION, PREVIOUS_CURSOR_DESCRIPTION, OrderedTags, Topics
from memories.memory_types import MemoryType
from memories.search.filters import MemoryTypeIn
from memory_site.core.http.fields import OMITTED, InputSchema, Label, Summary, UnitInterval


class ClusterPatch(InputSchema):
    """The fields to change; omitted ones stay."""

    model_config = ConfigDict(json_schema_extra={"example": {"topics": ["sales"], "confidence": 0.9}})

    name: Label = Field(OMITTED, description="The cluster's name.")
    description: Summary | None = None
    confidence: UnitInterval = OMITTED
    topics: Topics = OMITTED


class ClusterIn(InputSchema):
    """The name and description of the memories of a type that have exactly these tags."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "Renewals of Acme", "memory_type": "business_fact", "tags": ["acme", "renewal"]}
        }
    )

    name: Label = Field(description="The cluster's name.")
    description: Summary | None = None
    memory_type: MemoryTypeIn
    tags: OrderedTags = Field(description="The tags that its memories have, and no others.")
    confidence: UnitInterval = 1.0
    topics: Topics = []


# Not `ClusterOut`: that is the OpenAPI component of a cluster in a user's graph.
class TaggedClusterOut(Schema):
    id: UUID
    name: str = Field(description="The type and tags when the cluster has no name of its own.")
    description: str | None
    memory_type: MemoryType
    tags: list[str] = Field(description="The tags that its memories have, and no others.")
    topics: list[str]
    member_count: int = Field(description="How many memories it has.")
    members: list[UUID] = Field(description="Ids of the newest 20.")
    confidence: float
    importance_score: float = Field(
        description="`min(5, 0.1 * member_count + 1.0)`; 0.5 instead of 1.0 if unchanged for seven days."
    )
    created_at: datetime
    updated_at: datetime


class TaggedClusterPage(Schema):
    results: list[TaggedClusterOut]
    next: str | None = Field(description=NEXT_CURSOR_DESCRIPTION)
    previous: str | None = Field(description=PREVIOUS_CURSOR_DESCRIPTION)
