"""What the API says of versions and of the trash."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, model_validator

from memories.history.trash import find_end
from memories.history.versions import Version
from memories.search.filters import Filters, UuidIn
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import InputSchema

#: Of a request that names filters; `remaining` says how many are left for the next one.
MAX_RESTORED_PER_REQUEST = 10_000
EXAMPLE_ID = "01980000-0000-7000-8000-000000000000"


class ChangeOut(Schema):
    field: str = Field(description="The field that the change made different.")
    before: Any = Field(description="Its value before.")
    after: Any = Field(description="Its value after.")


class VersionOut(Schema):
    version: UUID = Field(description="The version's id, by which it can be restored.")
    operation: Literal["update", "delete"] = Field(description="What replaced this version.")
    changed_at: datetime = Field(description="When that was.")
    changed_by: str = Field(
        description="Who did it: `key:mem_…`, `console:<username>`, `command:<name>`, `task:<name>` or"
        " `database:<role>`."
    )
    request_id: str | None = Field(description="The request's `X-Request-ID`.")
    job_id: UUID | None = Field(description="The job that did it.")
    changes: list[ChangeOut] = Field(description="What an update made different; empty for a deletion.")
    memory: dict[str, Any] = Field(description="The memory as it stood before.")


class VersionPage(Schema):
    results: list[VersionOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class RestoreIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {}})

    version: UuidIn | None = Field(
        default=None,
        description="The version to restore; without it, what stood there before the last change or the deletion.",
    )


class TrashedOut(Schema):
    id: UUID = Field(description="The memory's id.")
    version: UUID = Field(description="The version's id, as in the memory's history.")
    deleted_at: datetime = Field(description="When it was deleted.")
    deleted_by: str = Field(description="Who deleted it, as `changed_by` of a version.")
    request_id: str | None = Field(description="The request's `X-Request-ID`.")
    job_id: UUID | None = Field(description="The job that deleted it.")
    restorable_until: datetime = Field(description="When it leaves the trash.")
    memory: dict[str, Any] = Field(description="The memory as it was.")


class TrashPage(Schema):
    results: list[TrashedOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class TrashRestoreIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"ids": [EXAMPLE_ID], "dry_run": True}})

    ids: list[UuidIn] | None = Field(default=None, min_length=1, max_length=1000, description="Only these memories.")
    filters: Filters | None = Field(
        default=None, description="Only the memories that match, the last deleted ones first."
    )
    dry_run: bool = Field(default=False, description="Only count.")

    @model_validator(mode="after")
    def require_one(self) -> "TrashRestoreIn":
        if self.ids is None and (self.filters is None or self.filters.is_empty):
            raise field_error("filters", "ids or at least one condition must be given")
        return self


class LeftOut(Schema):
    id: UUID = Field(description="The memory's id.")
    reason: str = Field(description="Why it could not come back.")


class TrashRestoreOut(Schema):
    matched: int = Field(description="How many memories are meant.")
    restored: int = Field(description="How many came back.")
    existing: int = Field(description="How many were there already.")
    left: list[LeftOut] = Field(description="Those that could not come back, and why; at most 1,000 of them.")
    remaining: int = Field(description="How many of a filter are left for another request.")


def to_version_out(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "operation": version.operation,
        "changed_at": version.changed_at,
        "changed_by": version.changed_by,
        "request_id": version.request_id or None,
        "job_id": version.job_id,
        "changes": [{"field": each.field, "before": each.before, "after": each.after} for each in version.changes],
        "memory": version.row,
    }


def to_trashed_out(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["memory_id"],
        "version": row["id"],
        "deleted_at": row["changed_at"],
        "deleted_by": row["changed_by"],
        "request_id": row["request_id"] or None,
        "job_id": row["job_id"],
        "restorable_until": find_end(row["changed_at"], row["expires_at"]),
        "memory": row["row"],
    }


TRASHED_COLUMNS = ("id", "memory_id", "changed_at", "changed_by", "request_id", "job_id", "expires_at", "row")
