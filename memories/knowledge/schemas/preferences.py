"""Wire shapes of preferences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.knowledge.schemas.fields import NEXT_CURSOR_DESCRIPTION, PREVIOUS_CURSOR_DESCRIPTION, JsonValue
from memory_site.core.http.fields import InputSchema, Label, UnitInterval


class PreferenceIn(InputSchema):
    """A user's preference. Omitted fields keep their value."""

    model_config = ConfigDict(json_schema_extra={"example": {"value": {"theme": "dark"}, "confidence": 0.9}})

    value: JsonValue = Field(description="Any JSON value.", json_schema_extra={"x-anything": True})
    confidence: UnitInterval = 1.0
    source: Label = Field(default="api", description="Where it was learned.")


class PreferenceOut(Schema):
    id: UUID
    user_id: str
    key: str
    value: Any = Field(description="Any JSON value.")
    confidence: float
    source: str = Field(description="Where it was learned.")
    created_at: datetime
    updated_at: datetime


class PreferencePage(Schema):
    results: list[PreferenceOut]
    next: str | None = Field(description=NEXT_CURSOR_DESCRIPTION)
    previous: str | None = Field(description=PREVIOUS_CURSOR_DESCRIPTION)


PREFERENCE_COLUMNS = tuple(PreferenceOut.model_fields)
