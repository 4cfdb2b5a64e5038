"""Wire shapes of workflow executions and their report."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from ingestion.models import ExecutionStatus
from memories.schemas import remove_duplicates
from memory_site.core.http.fields import (
    OMITTED,
    InputSchema,
    JsonObject,
    Label,
    Summary,
    Text,
    check_visible,
)
from memory_site.core.http.path_labels import UserId
from sessions_app.schemas.sessions import RecordedTimestamp

#: A hundred years.
MAX_DURATION_SECONDS = 100 * 365 * 24 * 3600
ExecutionState = Literal[*ExecutionStatus.values]  # type: ignore[valid-type]  # derived from the choices
ErrorText = Annotated[Text, StringConstraints(min_length=1, max_length=10_000), AfterValidator(check_visible)]
DurationSeconds = Annotated[float, Field(ge=0, le=MAX_DURATION_SECONDS)]
Repositories = Annotated[list[Label], Field(max_length=64), AfterValidator(remove_duplicates)]


class ExecutionIn(InputSchema):
    """An execution of a workflow. Only `adapter`, the system that ran it, is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "adapter": "langgraph",
                "agent_id": "planner",
                "repositories": ["site"],
                "result": {"pages_changed": 3},
            }
        }
    )

    adapter: Label
    status: ExecutionState = Field(
        default=ExecutionStatus.COMPLETED.value, description="`pending`, `running`, `completed` or `failed`."
    )
    agent_id: Label | None = None
    user_id: UserId | None = None
    repositories: Repositories = Field(default=[], description="The repositories that it worked on, at most 64.")
    result: JsonObject | None = Field(
        default=None, description="What it produced: at most 64 KiB, 256 keys and 8 levels."
    )
    error: ErrorText | None = Field(default=None, description="Why it failed.")
    started_at: RecordedTimestamp | None = Field(
        default=None, description="Default: `duration_seconds` before the end, which is now if it is not given either."
    )
    finished_at: RecordedTimestamp | None = Field(
        default=None,
        description="Only for a completed or failed execution; default: `duration_seconds` after the start, or now.",
    )
    duration_seconds: DurationSeconds | None = Field(
        default=None,
        description="Only for a completed or failed execution: instead of `started_at` or `finished_at`; with both, it "
        "must be the time between them, to a second.",
    )
    summary: Summary | None = Field(
        default=None, description="Text of the memory, followed by a sentence generated from the other fields."
    )
    remember: bool = Field(default=True, description="Whether to store it as a memory too.")


class ExecutionPatch(InputSchema):
    """The fields to change; omitted ones stay."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "completed", "result": {"pages_changed": 3}}})

    status: ExecutionState = Field(OMITTED, description="`pending`, `running`, `completed` or `failed`.")
    result: JsonObject | None = Field(
        default=None, description="What it produced: at most 64 KiB, 256 keys and 8 levels."
    )
    error: ErrorText | None = Field(default=None, description="Why it failed.")
    finished_at: RecordedTimestamp = Field(OMITTED, description="When it finished, in UTC.")
    duration_seconds: DurationSeconds = Field(OMITTED, description="Instead of `finished_at`.")


class ExecutionOut(Schema):
    id: UUID
    workflow_id: str
    adapter: str
    agent_id: str | None
    user_id: str | None
    repositories: list[str] = Field(description="The repositories that it worked on.")
    status: ExecutionState = Field(description="`pending`, `running`, `completed` or `failed`.")
    result: dict[str, Any] | None = Field(description="What it produced; null for nothing.")
    error: str | None = Field(description="Why it failed; null otherwise.", json_schema_extra={"example": None})
    started_at: datetime = Field(description="When it started, in UTC.")
    finished_at: datetime | None = Field(description="When it finished, in UTC; null until then.")
    duration_seconds: float | None = Field(description="Null until the execution has finished.")
    memory_id: UUID | None = Field(description="Id of its memory; null once that is deleted.")
    created_at: datetime


class ExecutionPage(Schema):
    results: list[ExecutionOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class ReportRow(Schema):
    workflow_id: str
    adapter: str
    agent_id: str | None
    repo_id: str | None = Field(description="Null for executions without a repository.")
    executions: int = Field(description="How many executions there were.")
    completed: int = Field(description="How many of them completed.")
    failed: int = Field(description="How many of them failed.")
    average_seconds: float | None = Field(description="Average duration of the finished executions.")
    last_execution: datetime = Field(description="When the latest one started, in UTC.")
    documents: int = Field(description="Stored documents of the repository.")
    chunks: int = Field(description="How many chunks these documents have.")


class ReportOut(Schema):
    results: list[ReportRow]
    next: str | None = None
    previous: str | None = None


REPORT_COLUMNS = tuple(ReportRow.model_fields)
EXECUTION_COLUMNS = tuple(ExecutionOut.model_fields)
