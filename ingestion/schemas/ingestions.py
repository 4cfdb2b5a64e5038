"""Wire shapes of ingestions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from ingestion.file_discovery import DEFAULT_SUFFIXES
from ingestion.gitignore import is_rule
from ingestion.models import IngestionStatus
from memory_site.core.http.fields import InputSchema, Text

Suffix = Annotated[
    Text, StringConstraints(pattern=r"^\.[A-Za-z0-9_.-]{1,31}$"), Field(json_schema_extra={"example": ".md"})
]
FolderPath = Annotated[
    Text, StringConstraints(min_length=1, max_length=4096), Field(json_schema_extra={"example": "checkouts/site"})
]


def check_pattern(pattern: str) -> str:
    if not is_rule(pattern):
        raise ValueError("is not a pattern as in .gitignore")
    return pattern


ExcludePattern = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(check_pattern),
    Field(json_schema_extra={"example": "docs/drafts/"}),
]
IngestionState = Literal[*IngestionStatus.values]  # type: ignore[valid-type]  # derived from the choices


class IngestionIn(InputSchema):
    """A folder on the server, inside INGESTION_ROOTS; a relative path starts at the first of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"path": "checkouts/site"}})

    path: FolderPath = Field(
        description="The folder on the server; a relative path starts at the first of INGESTION_ROOTS."
    )
    suffixes: list[Suffix] = Field(
        default=list(DEFAULT_SUFFIXES), min_length=1, max_length=64, description="Suffixes of the files to ingest."
    )
    exclude: list[ExcludePattern] = Field(
        default=[],
        max_length=64,
        description="Patterns, as in .gitignore, of files and folders to leave out, besides lock files, minified, "
        "generated and vendored code. One that begins with ! takes a file in again.",
    )


class StartedOut(Schema):
    id: UUID
    status: IngestionState = Field(
        description="`pending`: waits for a worker; `in_progress`; `completed`; `failed`: see `error`.",
        json_schema_extra={"example": "pending"},
    )


class SkippedOut(Schema):
    path: str = Field(description="The file, relative to the folder.")
    reason: str = Field(description="Why it was not ingested.")


class IngestionOut(Schema):
    id: UUID
    repo_id: str
    path: str = Field(description="The folder on the server.", json_schema_extra={"example": "/srv/checkouts/site"})
    suffixes: list[str] = Field(description="Suffixes of the files to ingest.")
    exclude: list[str] = Field(description="Patterns, as in .gitignore, of what was left out besides the defaults.")
    status: IngestionState = Field(
        description="`pending`: waits for a worker; `in_progress`; `completed`; `failed`: see `error`."
    )
    documents_total: int | None = Field(description="Null until the folder has been listed.")
    documents_done: int = Field(description="How many files were looked at so far.")
    documents_changed: int = Field(description="How many of them were new or changed, and were stored.")
    documents_deleted: int = Field(description="How many documents were deleted because their files are gone.")
    documents_skipped: int = Field(description="Files that were not ingested.")
    chunks: int = Field(description="Chunks of the changed documents.")
    documents_per_second: float | None = Field(description="Files looked at in a second; null before the run starts.")
    seconds_left: float | None = Field(description="At the current rate; null when the run is not in progress.")
    skipped: list[SkippedOut] = Field(description="The first hundred skipped files, with the reasons.")
    error: str = Field(description="Why it failed; empty otherwise.")
    created_at: datetime
    started_at: datetime | None = Field(description="When a worker began, in UTC; null while it waits.")
    finished_at: datetime | None = Field(description="When it ended, in UTC; null until then.")
    duration_seconds: float | None = Field(description="From its start to its end; null until then.")


class IngestionPage(Schema):
    results: list[IngestionOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


INGESTION_COLUMNS = tuple(
    name for name in IngestionOut.model_fields if name not in ("documents_per_second", "seconds_left")
)
