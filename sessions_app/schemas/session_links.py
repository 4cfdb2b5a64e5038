"""Request and response schemas of session links."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from memory_site.core.http.fields import InputSchema, Summary
from sessions_app.models.sessions import LinkType
from sessions_app.schemas.sessions import SessionId

LinkTypeName = Literal[*LinkType.values]  # type: ignore[valid-type]  # built from the enum; any value to mypy


class LinkIn(InputSchema):
    """A link from one session to another. Repeating a link of the same type updates its context."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"source_session_id": "tuesday", "target_session_id": "monday", "link_type": "continuation"}
        }
    )

    source_session_id: SessionId
    target_session_id: SessionId
    link_type: LinkTypeName = LinkType.RELATED.value
    context: Summary | None = Field(
        default=None, description="Why they are linked; when omitted, an existing link keeps its context."
    )

    @field_validator("target_session_id")
    @classmethod
    def check_differs_from_source(cls, target: str, info: ValidationInfo) -> str:
        if target == info.data.get("source_session_id"):
            raise ValueError("must differ from source_session_id")
        return target


class LinkOut(Schema):
    id: UUID
    source_session_id: str
    target_session_id: str
    link_type: LinkTypeName
    context: str | None = Field(description="Why they are linked; null for no reason given.")
    created_at: datetime
    updated_at: datetime


class LinkPage(Schema):
    results: list[LinkOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")
