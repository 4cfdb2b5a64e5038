"""What clusters, patterns and preferences look like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints

from memories.filters import Id, Kind
from memories.knowledge.models import EXAMPLES_KEPT, PatternType
from memories.schemas import without_repeats
from memories.types import MemoryType
from memory_site.schemas import In, JsonObject, Label, Share, Summary, Tags, Text, bounded_object, visible

NEXT = "The `cursor` of the following page."
PREVIOUS = "The `cursor` of the page before."
EXAMPLE_LENGTH = 500
PATTERN = {
    "pattern_type": "workflow",
    "key": "tests before merge",
    "user_id": "ada",
    "description": "Runs the whole suite before every merge.",
    "examples": ["Run the tests first."],
}


def bounded_value(value: Any) -> Any:
    """Any JSON within the bounds of an object; what is none is measured as the only thing in one."""
    bounded_object(value if isinstance(value, dict) else {"": value})
    return value


def in_order(tags: list[str]) -> list[str]:
    """Each once, in the order of their code points, which is that of their bytes."""
    return sorted(set(tags))


JsonValue = Annotated[Any, BeforeValidator(bounded_value)]
OrderedTags = Annotated[Tags, Field(min_length=1), AfterValidator(in_order)]
Topics = Annotated[list[Label], Field(max_length=64), AfterValidator(without_repeats)]
Example = Annotated[Text, StringConstraints(min_length=1, max_length=EXAMPLE_LENGTH), AfterValidator(visible)]
Examples = Annotated[
    list[Example],
    Field(max_length=EXAMPLES_KEPT, description="The newest first."),
    AfterValidator(without_repeats),
]
Frequency = Annotated[int, Field(ge=1, le=1_000_000)]
PatternKind = Literal[*PatternType.values]


class ClusterPatch(In):
    """The fields to change; what is not named stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"topics": ["sales"], "confidence": 0.9}})

    name: Label = None
    description: Summary | None = None
    confidence: Share = None
    topics: Topics = None


class ClusterIn(In):
    """What to call the memories of a type that have exactly these tags."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"name": "Renewals of Acme", "memory_type": "business_fact", "tags": ["acme", "renewal"]}
        }
    )

    name: Label
    description: Summary | None = None
    memory_type: Kind
    tags: OrderedTags
    confidence: Share = 1.0
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
    next: str | None = Field(description=NEXT)
    previous: str | None = Field(description=PREVIOUS)


class PatternIn(In):
    """A pattern that was noticed. Again under the same key of the same user, it has occurred more often."""

    model_config = ConfigDict(json_schema_extra={"example": PATTERN})

    pattern_type: PatternKind
    key: Label
    user_id: Label | None = None
    description: Summary | None = None
    frequency: Frequency = Field(1, description="How often it occurred; added to what is known.")
    confidence: Share = Field(1.0, description="The greater of this and what is known stays.")
    examples: Examples = []
    metadata: JsonObject = {}

    def draft(self) -> dict[str, Any]:
        """The columns. A confidence that was not given is None: it does not raise what is known."""
        return self.model_dump() | ({} if "confidence" in self.model_fields_set else {"confidence": None})


class PatternPatch(In):
    """The fields to change; what is not named stays. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"confidence": 0.5}})

    pattern_type: PatternKind = None
    description: Summary | None = None
    frequency: Frequency = None
    confidence: Share = None
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
    next: str | None = Field(description=NEXT)
    previous: str | None = Field(description=PREVIOUS)


class DiscoverIn(In):
    model_config = ConfigDict(
        json_schema_extra={"example": {"conversation_id": "01980000-0000-7000-8000-000000000000"}}
    )

    conversation_id: Id


class DiscoverOut(Schema):
    patterns: list[PatternOut]
    messages: int = Field(description="How many messages of the user were looked at; fewer than five tell nothing.")


class PreferenceIn(In):
    """What a user likes. What is not said again stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"value": {"theme": "dark"}, "confidence": 0.9}})

    value: JsonValue = Field(description="Any JSON.", json_schema_extra={"x-anything": True})
    confidence: Share = 1.0
    source: Label = "api"


class PreferenceOut(Schema):
    id: UUID
    user_id: str
    key: str
    value: Any
    confidence: float
    source: str
    created_at: datetime
    updated_at: datetime


class PreferencePage(Schema):
    results: list[PreferenceOut]
    next: str | None = Field(description=NEXT)
    previous: str | None = Field(description=PREVIOUS)


PATTERN_COLUMNS = tuple(PatternOut.model_fields)
PREFERENCE_COLUMNS = tuple(PreferenceOut.model_fields)
