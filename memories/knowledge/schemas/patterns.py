"""Wire shapes of patterns."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from memories.knowledge.models import MAX_PATTERN_EXAMPLES, PatternType
from memories.knowledge.schemas.fields import NEXT_CURSOR_DESCRIPTION, PREVIOUS_CURSOR_DESCRIPTION
from memories.schemas import remove_duplicates
from memories.search.filters import UuidIn
from memory_site.core.http.fields import (
    OMITTED,
    InputSchema,
    JsonObject,
    Label,
    Summary,
    Text,
    UnitInterval,
    check_visible,
)
from memory_site.core.http.path_labels import UserId

MAX_EXAMPLE_LENGTH = 500
PATTERN_EXAMPLE: dict[str, Any] = {
    "pattern_type": "workflow",
    "key": "tests before merge",
    "user_id": "ada",
    "description": "Runs the whole suite before every merge.",
    "examples": ["Run the tests first."],
}
Example = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_EXAMPLE_LENGTH), AfterValidator(check_visible)]
Examples = Annotated[
    list[Example],
    Field(max_length=MAX_PATTERN_EXAMPLES, description="Newest first."),
    AfterValidator(remove_duplicates),
]
Frequency = Annotated[int, Field(ge=1, le=1_000_000)]
PatternKind = Literal[*PatternType.values]  # type: ignore[valid-type]  # derived from the choices


class PatternIn(InputSchema):
    """An observed pattern. A further one under the same key of the same user adds to its frequency."""

    model_config = ConfigDict(json_schema_extra={"example": PATTERN_EXAMPLE})

    pattern_type: PatternKind
    key: Label
    user_id: UserId | None = None
    description: Summary | None = None
    frequency: Frequency = Field(default=1, description="Number of occurrences; added to the stored one.")
    confidence: UnitInterval = Field(default=1.0, description="The greater of this and the stored one stays.")
    examples: Examples = []
    metadata: JsonObject = {}

    def to_draft(self) -> dict[str, Any]:
        """Return the columns. `confidence` is None when not given, so that its default raises no stored value."""
        return self.model_dump() | ({} if "confidence" in self.model_fields_set else {"confidence": None})


class PatternPatch(InputSchema):
    """The fields to change; omitted ones stay. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"confidence": 0.5}})

    pattern_type: PatternKind = OMITTED
    description: Summary | None = None
    frequency: Frequency = Field(OMITTED, description="How often it was observed.")
    confidence: UnitInterval = OMITTED
    examples: Examples = OMITTED
    metadata: JsonObject = OMITTED


class PatternOut(Schema):
    id: UUID
    pattern_type: PatternKind
    key: str
    user_id: str | None
    description: str | None
    frequency: int = Field(description="How often it was observed.")
    confidence: float
    examples: list[str] = Field(description="Newest first.")
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class AddedPatternOut(PatternOut):
    created: bool = Field(description="False when the user had a pattern under this key.")


class PatternPage(Schema):
    results: list[PatternOut]
    next: str | None = Field(description=NEXT_CURSOR_DESCRIPTION)
    previous: str | None = Field(description=PREVIOUS_CURSOR_DESCRIPTION)


class DiscoverIn(InputSchema):
    model_config = ConfigDict(
        json_schema_extra={"example": {"conversation_id": "01980000-0000-7000-8000-000000000000"}}
    )

    conversation_id: UuidIn = Field(description="The conversation to read.")


class DiscoverOut(Schema):
    patterns: list[PatternOut] = Field(description="The patterns that were found and stored.")
    messages: int = Field(description="Number of the user's messages that were read; fewer than five give no pattern.")


PATTERN_COLUMNS = tuple(PatternOut.model_fields)
