"""Wire shapes of documents and of the search in their chunks."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from memories.schemas import FloorIn, FloorOut, HitOut
from memory_site.core.http.fields import InputSchema, JsonObject, Label, QueryText, Text
from memory_site.core.http.path_labels import RepoId


class DocumentIn(InputSchema):
    """A text to store in chunks."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"content": "The harbour opens at nine.", "title": "Opening hours"}}
    )

    content: Annotated[Text, StringConstraints(min_length=1, max_length=2 * 2**20)]
    title: Label | None = Field(default=None, description="Its title; null for none.")
    repo_id: RepoId | None = None
    metadata: JsonObject = {}


class KnowledgeIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"query": "when does the harbour open?", "top_k": 5}})

    query: QueryText
    repo_id: Label | None = None
    top_k: int = Field(default=5, ge=1, le=50, description="How many hits are returned at most.")
    floor: FloorIn = None


class DocumentOut(Schema):
    id: UUID
    repo_id: str | None
    path: str | None = Field(description="Of a file in its repository; null for a posted text.")
    title: str | None = Field(description="Its title; null for none.")
    metadata: dict[str, Any]
    size: int = Field(description="Bytes.")
    chunks: int = Field(description="Those that are left: chunks are memories, which may be deleted on their own.")
    created_at: datetime
    updated_at: datetime


class DocumentPage(Schema):
    results: list[DocumentOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


DOCUMENT_COLUMNS = tuple(DocumentOut.model_fields)


class KnowledgeHitOut(HitOut):
    repo_id: str | None
    file_path: str | None = Field(description="The file that the chunk is from; null for a text that was posted.")
    start_line: int | None = Field(description="The first line of the chunk, from 1; null if unknown.")
    end_line: int | None = Field(description="The last line of the chunk; null if unknown.")


class KnowledgeOut(Schema):
    results: list[KnowledgeHitOut]
    floor: FloorOut
    degraded: bool = Field(description="True when the embedder was unavailable and only words were searched.")
    took_ms: float
