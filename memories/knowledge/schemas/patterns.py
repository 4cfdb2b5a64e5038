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
from memory_site.core.http.fields import InputSchema, JsonObject, Label, Summary, Text, UnitInterval, check_visible

MAX_EXAMPLE_LENGTH = 500
PATTERN_EXAMPLE = {
    "pattern_type": "workflow",
    "key": "tests before merge",
    "user_id": "ada",
    "description": "Runs the whole suite before every merge.",
    "examples": ["Run the tests first."],
}
Example = Annotated[Text, StringConstraints(min_length=1, max_length=MAX_EXAMPLE_LENGTH), AfterValidator(check_visible)]
Examples = Annotated[
    list[Example],
    Field(max_length=MAX_PATTERN_EXAMPLES, description="The newest first."),
    AfterValidator(remove_duplicates),
]
Frequency = Annotated[int, Field(ge=1, le=1_000_000)]
PatternKind = Literal[*PatternType.values]


class PatternIn(InputSchema):
    """A pattern that was noticed. Again under the same key of the same user, it has occurred more often."""

    model_config = ConfigDict(json_schema_extra={"example": PATTERN_EXAMPLE})

    pattern_type: PatternKind
    key: Label
    user_id: Label | None = None
    description: Summary | None = None
    frequency: Frequency = Field(1, description="How often it occurred; added to what is known.")
    confidence: UnitInterval = Field(1.0, description="The greater of this and what is known stays.")
    examples: Examples = []
    metadata: JsonObject = {}

    def to_draft(self) -> dict[str, Any]:
        """The columns. A confidence that was not given is None: it does not raise what is known."""
        return self.model_dump() | ({} if "confidence" in self.model_fields_set else {"confidence": None})


class PatternPatch(InputSchema):
    """The fields to change; what is not named stays. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"confidence": 0.5}})

    pattern_type: PatternKind = None
    description: Summary | None = None
    frequency: Frequency = None
    confidence: UnitInterval = None
    examples: Examples = None
    metadata: JsonObject = None


class PatternOut(Schema):
    id: UUID
    pattern_type: PatternKind
    key: str
    user_id: str | None
    description: str | None
    frequency: int
    confidence: float
    examples: list[str] = Field(description="The newest first.")
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class AddedPatternOut(PatternOut):
    created: bool = Field(description="False when the key was there already.")


class PatternPage(Schema):
    results: list[PatternOut]
    next: str | None = Field(description=NEXT_CURSOR_DESCRIPTION)
    previous: str | None = Field(description=PREVIOUS_CURSOR_DESCRIPTION)


class DiscoverIn(InputSchema):
    model_config = ConfigDict(
        json_schema_extra={"example": {"conversation_id": "01980000-0000-7000-8000-000000000000"}}
    )

    conversation_id: UuidIn


class DiscoverOut(Schema):
    patterns: list[PatternOut]
    messages: int = Field(description="How many messages of the user were looked at; fewer than five tell nothing.")


PATTERN_COLUMNS = tuple(PatternOut.model_fields)
