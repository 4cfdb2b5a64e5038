"""What clusters, patterns and preferences look like on the wire."""

from datetime import datetime
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.knowledge.schemas.fields import NEXT_CURSOR_DESCRIPTION, PREVIOUS_CURSOR_DESCRIPTION, OrderedTags, Topics
from memories.search.filters import MemoryTypeIn
from memories.types import MemoryType
from memory_site.core.http.fields import InputSchema, Label, Summary, UnitInterval


class ClusterPatch(InputSchema):
    """The fields to change; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"topics": ["sales"], "confidence": 0.9}})

    name: Label = None
    description: Summary | None = None
    confidence: UnitInterval = None
    topics: Topics = None


class ClusterIn(InputSchema):
    """What to call the memories of a type that have exactly these tags."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "Renewals of Acme", "memory_type": "business_fact", "tags": ["acme", "renewal"]}
        }
    )

    name: Label
    description: Summary | None = None
    memory_type: MemoryTypeIn
    tags: OrderedTags
    confidence: UnitInterval = 1.0
    topics: Topics = []


# In the API's description a user's graph has the clusters that are only called so.
class TaggedClusterOut(Schema):
    id: UUID
    name: str = Field(description="Its type and tags, when nobody has named it.")
    description: str | None
    memory_type: MemoryType
    tags: list[str]
    topics: list[str]
    member_count: int
    members: list[UUID] = Field(description="The newest 20.")
    confidence: float
    importance_score: float = Field(description="0.5 to 5, by members and whether it changed within seven days.")
    created_at: datetime
    updated_at: datetime


class TaggedClusterPage(Schema):
    results: list[TaggedClusterOut]
    next: str | None = Field(description=NEXT_CURSOR_DESCRIPTION)
    previous: str | None = Field(description=PREVIOUS_CURSOR_DESCRIPTION)
