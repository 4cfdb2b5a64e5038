"""Schemas of relationships and of related memories."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import to_json

from memories.entity_ids import complete_entity_id
from memories.graph.models import RelationshipType
from memories.schemas import MemoryOut
from memories.search.filters import UuidIn
from memory_site.core.http.fields import InputSchema, JsonObject, Label, UnitInterval

RelationshipTypeName = Literal[*RelationshipType.values]  # type: ignore[valid-type]  # mypy reads literals only


class EntityKey(InputSchema):
    """Identifies an entity of an external system."""

    system: Label = Field(
        description="The system that has the record, such as `jira`.", json_schema_extra={"example": "jira"}
    )
    id: Label = Field(description="The record's id in that system.", json_schema_extra={"example": "MEM-1"})

    @model_validator(mode="after")
    def complete_id(self) -> "EntityKey":
        self.id = complete_entity_id(self.system, self.id)
        return self


class RelationshipFields(InputSchema):
    """The fields of a relationship. Adding it again changes the given fields and leaves the others."""

    type: RelationshipTypeName = Field(
        default=RelationshipType.RELATES_TO.value, description="How the first memory relates to the second."
    )
    strength: UnitInterval = 1.0
    metadata: JsonObject = {}

    def columns(self) -> dict[str, Any]:
        """Return the values by column name, JSON as text; None for those that were not given."""
        given = self.model_fields_set
        return {
            "type": self.type,
            "strength": self.strength if "strength" in given else None,
            "metadata": to_json(self.metadata).decode() if "metadata" in given else None,
        }


class ToMemoryIn(RelationshipFields):
    """To another memory of the same user."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"to_id": "01980000-0000-7000-8000-000000000000", "type": "led_to"}}
    )

    fields_of_other_forms = ("to_entity",)

    to_id: UuidIn = Field(description="The memory that the relationship leads to; of the same user.")


class ToEntityIn(RelationshipFields):
    """To the memory of an entity, which need not be stored yet."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"to_entity": {"system": "jira", "id": "MEM-1"}, "type": "depends_on"}}
    )

    to_entity: EntityKey = Field(description="The record that the relationship leads to.")


def discriminate_target(body: Any) -> str:
    return "[entity]" if isinstance(body, dict) and "to_entity" in body else "[memory]"


# A location in brackets is left out of the field names in errors (memory_site/api.py).
RelationshipIn = Annotated[
    Annotated[ToMemoryIn, Tag("[memory]")] | Annotated[ToEntityIn, Tag("[entity]")], Discriminator(discriminate_target)
]


class LinkOut(Schema):
    id: UUID
    from_id: UUID
    type: RelationshipTypeName = Field(description="How the first memory relates to the second.")
    strength: float
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class RelationshipOut(LinkOut):
    to_id: UUID


class PendingOut(LinkOut):
    """A relationship whose entity is not stored yet. When it is, the relationship is created with this id."""

    pending: Literal[True] = Field(description="Always true.")
    to_entity: EntityKey = Field(description="The record that the relationship waits for.")


class RelationshipPage(Schema):
    results: list[RelationshipOut]
    pending: list[PendingOut] = Field(description="Relationships whose entity is not stored yet, the newest 100.")
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class RelatedMemoryOut(Schema):
    memory: MemoryOut
    distance: int = Field(description="The number of relationships on the shortest path.")
    path_type: str = Field(description="The types along the shortest path: `led_to`, or `led_to > depends_on`.")
    strength: float = Field(description="The product of the strengths along that path.")


class RelatedOut(Schema):
    results: list[RelatedMemoryOut]
