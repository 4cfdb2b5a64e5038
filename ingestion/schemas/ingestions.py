"""Wire shapes of ingestions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from ingestion.file_discovery import DEFAULT_SUFFIXES
from ingestion.models import IngestionStatus
from memory_site.core.http.fields import InputSchema, Text

Suffix = Annotated[
    Text, StringConstraints(pattern=r"^\.[A-Za-z0-9_.-]{1,31}$"), Field(json_schema_extra={"example": ".md"})
]
FolderPath = Annotated[
    Text, StringConstraints(min_length=1, max_length=4096), Field(json_schema_extra={"example": "checkouts/site"})
]
IngestionState = Literal[*IngestionStatus.values]  # type: ignore[valid-type]  # derived from the choices


class IngestionIn(InputSchema):
    """A folder on the server, inside INGESTION_ROOTS; a relative path starts at the first of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"path": "checkouts/site"}})

    path: FolderPath
    suffixes: list[Suffix] = Field(
        default=list(DEFAULT_SUFFIXES), min_length=1, max_length=64, description="Suffixes of the files to ingest."
    )


class StartedOut(Schema):
    id: UUID
    status: IngestionState


class SkippedOut(Schema):
    path: str
    reason: str


class IngestionOut(Schema):
    id: UUID
    repo_id: str
    path: str
    suffixes: list[str]
    status: IngestionState
    documents_total: int | None = Field(description="Null until the folder has been listed.")
    documents_done: int
    documents_changed: int
    documents_deleted: int
    documents_skipped: int = Field(description="Files that were not ingested.")
    chunks: int = Field(description="Chunks of the changed documents.")
    documents_per_second: float | None
    seconds_left: float | None = Field(description="At the current rate; null when the run is not in progress.")
    skipped: list[SkippedOut] = Field(description="The first hundred skipped files, with the reasons.")
    error: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None


class IngestionPage(Schema):
    results: list[IngestionOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


INGESTION_COLUMNS = tuple(
    name for name in IngestionOut.model_fields if name not in ("documents_per_second", "seconds_left")
)
