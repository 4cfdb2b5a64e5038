"""Wire shapes of jobs."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.jobs.actions import ACTIONS
from memories.jobs.describe import describe_job
from memories.jobs.models import Job, JobState
from memories.jobs.undo import can_undo
from memories.schemas import MemoryOut
from memories.search.filters import Filters
from memories.search.list_filters import ListFilters
from memories.search.selection import Selection
from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import InputSchema, JsonObject, Label, QueryText

StateName = Literal[*JobState.values]  # type: ignore[valid-type]  # derived from the choices


def list_action_names() -> list[Any]:
    """Return the actions that a key may ask for; first the one that needs no parameters and changes nothing."""
    names = [action.name for action in ACTIONS.values() if action.in_api]
    return sorted(names, key=lambda name: ACTIONS[name].changes)


class JobIn(InputSchema):
    """An action, and the memories that it changes: those that the filters keep and that have the text."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "action": "export",
                "parameters": {"format": "csv"},
                "filters": {"user_id": "ada", "memory_types": ["agent"]},
            }
        }
    )

    action: Label = Field(
        description="What to do with every memory that matches.", json_schema_extra={"enum": list_action_names()}
    )
    parameters: JsonObject = Field(
        default={},
        description="What the action needs: `tags`, `importance`, `expires_at`, `memory_type`, `user_id` or `format`.",
    )
    filters: Filters | None = None
    text: QueryText | None = Field(
        default=None, description="Only memories with this text in content, summary, data or metadata."
    )
    mode: Literal["literal", "pattern"] = Field(
        default="literal", description="Whether `text` is found as it stands or is a regular expression."
    )
    dry_run: bool = Field(default=False, description="Only count, and show ten of the memories.")
    expected: int | None = Field(
        default=None, ge=0, description="Start nothing, with 409, if another number of memories matches."
    )

    def build_selection(self, namespace_id: int) -> Selection:
        """Return the selection. Raises InvalidField for a pattern that is none."""
        try:
            filters = ListFilters.model_construct(**(self.filters or Filters()).as_dict())
            return Selection(namespace_id, filters, self.text or "", self.mode).checked()
        except ValueError as error:
            raise InvalidField("text", str(error).partition(": ")[2]) from None


class FailureOut(Schema):
    id: UUID = Field(description="The memory that stays as it was.")
    reason: str = Field(description="Why it stays.")


class JobOut(Schema):
    id: UUID
    action: str = Field(description="What it does.")
    description: str = Field(description="What it does, in words.")
    parameters: dict[str, Any] = Field(description="What the action was given.")
    selection: dict[str, Any] = Field(description="Which memories it is about.")
    state: StateName = Field(
        description="`pending`, `running`, `cancelling`, or how it ended: `cancelled`, `finished`, `failed`, `undone`."
    )
    matched: int | None = Field(description="How many memories matched when it was created.")
    done: int = Field(description="How many it has changed, deleted or written, or found as wanted.")
    failed: int = Field(description="How many it had to leave as they were.")
    percent: int = Field(description="How much is done, from 0 to 100.")
    memories_per_second: float | None = Field(description="From its start to the last batch; null before the first.")
    seconds_left: float | None = Field(description="About how long it still takes; null unless it runs.")
    created_by: str = Field(description="Who asked for it: a key, a user of the console or a command.")
    created_at: datetime
    started_at: datetime | None = Field(description="When a worker began it; null before.")
    finished_at: datetime | None = Field(description="When it ended; null before.")
    message: str = Field(description="Why it failed; empty otherwise.")
    log: list[FailureOut] = Field(description="The memories that it had to leave, the first thousand.")
    result: dict[str, Any] = Field(description="What it has made, such as a file's size.")
    undo_of: UUID | None = Field(description="The job whose changes it takes back.")
    can_undo: bool = Field(description="Whether `POST /jobs/{id}/undo` would take its changes back.")


class JobPage(Schema):
    results: list[JobOut]
    next: str | None
    previous: str | None


class PreviewOut(Schema):
    """What a job would do. Nothing was created."""

    action: str = Field(description="What it would do.")
    description: str = Field(description="What it would do, in words.")
    matched: int = Field(description="How many memories match.")
    samples: list[MemoryOut] = Field(description="The newest ten of them.")
    warnings: list[str] = Field(description="What to know before it begins.")


def to_job_out(job: Job) -> dict[str, Any]:
    stored: tuple[str, ...] = (
        "id",
        "action",
        "parameters",
        "state",
        "matched",
        "done",
        "failed",
        "percent",
        "seconds_left",
    )
    stored += ("created_by", "created_at", "started_at", "finished_at", "message", "log", "result", "undo_of")
    selection = {name: value for name, value in job.selection.items() if name != "namespace_id"}
    more = {"description": describe_job(job), "selection": selection, "memories_per_second": job.rate}
    return {name: getattr(job, name) for name in stored} | more | {"can_undo": can_undo(job)}
