"""What relationships and users look like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Discriminator, Field, Tag
from pydantic_core import to_json

from memories.graph.models import RelationshipType
from memories.schemas import MemoryOut
from memories.search.filters import UuidIn
from memory_site.core.http.fields import InputSchema, JsonObject, Label, UnitInterval

RelationshipTypeName = Literal[*RelationshipType.values]


class EntityKey(InputSchema):
    """What tells an entity of an external system apart."""

    system: Label
    id: Label


class RelationshipFields(InputSchema):
    """What a caller may say of a relationship. Saying it again changes what is said and leaves the rest."""

    type: RelationshipTypeName = RelationshipType.RELATES_TO.value
    strength: UnitInterval = 1.0
    metadata: JsonObject = {}

    def columns(self) -> dict[str, Any]:
        """The values by column name, JSON as text; those that were not given are None."""
        said = self.model_fields_set
        return {
            "type": self.type,
            "strength": self.strength if "strength" in said else None,
            "metadata": to_json(self.metadata).decode() if "metadata" in said else None,
        }


class ToMemoryIn(RelationshipFields):
    """To another memory of the same user."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"to_id": "01980000-0000-7000-8000-000000000000", "type": "led_to"}}
    )

    to_id: UuidIn


class ToEntityIn(RelationshipFields):
    """To the memory of an entity, which may not be known yet."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"to_entity": {"system": "jira", "id": "MEM-1"}, "type": "depends_on"}}
    )

    to_entity: EntityKey


def discriminate_target(body: Any) -> str:
    return "[entity]" if isinstance(body, dict) and "to_entity" in body else "[memory]"


# The brackets keep these two names out of the errors that callers see.
RelationshipIn = Annotated[
    Annotated[ToMemoryIn, Tag("[memory]")] | Annotated[ToEntityIn, Tag("[entity]")], Discriminator(discriminate_target)
]


class LinkOut(Schema):
    id: UUID
    from_id: UUID
    type: RelationshipTypeName
    strength: float
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class RelationshipOut(LinkOut):
    to_id: UUID


class PendingOut(LinkOut):
    """A relationship that waits for its entity. When that is stored, the relationship is made with this id."""

    pending: Literal[True]
    to_entity: EntityKey


class RelationshipPage(Schema):
    results: list[RelationshipOut]
    pending: list[PendingOut] = Field(description="Those that wait for their entity, the newest 100.")
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class RelatedMemoryOut(Schema):
    memory: MemoryOut
    distance: int = Field(description="Steps on the shortest way.")
    path_type: str = Field(description="The types along the shortest way: `led_to`, or `led_to > depends_on`.")
    strength: float = Field(description="The product of the strengths along that way.")


class RelatedOut(Schema):
    results: list[RelatedMemoryOut]
