"""Wire shapes of measurements, and of the statistics over them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator

from ingestion.models import ADAPTER_HEALTH, WORKFLOW_EXECUTION, ExecutionStatus
from ingestion.schemas.workflows import DurationSeconds, ExecutionState
from memory_site.core.http.fields import MAX_SAFE_INTEGER, InputSchema, JsonObject, Label
from sessions_app.schemas.sessions import RecordedTimestamp

MAX_MEASUREMENTS = 1_000
HealthState = Literal["healthy", "degraded", "unhealthy", "unknown"]
#: A petabyte; a year.
Megabytes = Annotated[float, Field(ge=0, le=1e9)]
Milliseconds = Annotated[float, Field(ge=0, le=365 * 24 * 3600 * 1000)]
MEASUREMENT_EXAMPLE: dict[str, Any] = {
    "component": "langgraph",
    "metric_type": ADAPTER_HEALTH,
    "metrics": {"health_status": "healthy", "latency_ms": 42, "memory_mb": 180, "error_count": 0},
}


class AdapterHealth(InputSchema):
    """The known fields of a measurement of type `adapter_health`, whose component is the adapter."""

    model_config = ConfigDict(extra="ignore")

    health_status: HealthState = "unknown"
    latency_ms: Milliseconds | None = None
    memory_mb: Megabytes | None = None
    error_count: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)] = 0


class WorkflowRun(InputSchema):
    """The known fields of a measurement of type `workflow_execution`, whose component is `workflow_<id>`."""

    model_config = ConfigDict(extra="ignore")

    status: ExecutionState = ExecutionStatus.COMPLETED.value
    duration_seconds: DurationSeconds | None = None
    memory_mb: Megabytes | None = None
    adapter: Label | None = None
    execution_id: Annotated[UUID, Field(strict=False)] | None = None


KNOWN_METRICS: dict[str, type[InputSchema]] = {ADAPTER_HEALTH: AdapterHealth, WORKFLOW_EXECUTION: WorkflowRun}


class MeasurementIn(InputSchema):
    """One measurement."""

    component: Label = Field(description="What was measured: an adapter, `workflow_<id>`, or anything else.")
    metric_type: Label = Field(
        description="`adapter_health` and `workflow_execution` have known fields and count in the statistics; other "
        "types are yours."
    )
    metrics: JsonObject = Field(
        description="The figures: at most 64 KiB, 256 keys and 8 levels. Of `adapter_health`: `health_status` "
        "(`healthy`, `degraded`, `unhealthy`; default `unknown`), `latency_ms`, `memory_mb`, `error_count` (default "
        "0). Of `workflow_execution`: `status` (default `completed`), `duration_seconds`, `memory_mb`, `adapter`, and "
        "`execution_id` if the execution is stored too. Further fields are stored as they are."
    )
    timestamp: RecordedTimestamp | None = Field(
        default=None, description="When it was measured; by default the server's time of arrival."
    )

    @field_validator("metrics")
    @classmethod
    def complete_known_metrics(cls, metrics: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        known = KNOWN_METRICS.get(info.data.get("metric_type", ""))
        return metrics if known is None else metrics | known.model_validate(metrics).model_dump(mode="json")


class OneMeasurementIn(MeasurementIn):
    model_config = ConfigDict(json_schema_extra={"example": MEASUREMENT_EXAMPLE})
    fields_of_other_forms = ("measurements",)


class MeasurementsIn(InputSchema):
    """Several measurements at once."""

    model_config = ConfigDict(json_schema_extra={"example": {"measurements": [MEASUREMENT_EXAMPLE]}})

    measurements: list[MeasurementIn] = Field(
        min_length=1, max_length=MAX_MEASUREMENTS, description="1 to 1,000 measurements: all are stored, or none."
    )


def get_form(body: Any) -> str:
    return "[many]" if isinstance(body, dict) and "measurements" in body else "[one]"


# Tags in brackets are left out of the error locations in responses.
Measurements = Annotated[
    Annotated[OneMeasurementIn, Tag("[one]")] | Annotated[MeasurementsIn, Tag("[many]")], Discriminator(get_form)
]


class StoredOut(Schema):
    ids: list[UUID] = Field(description="In the order of the request.")


class MeasurementOut(Schema):
    id: UUID
    component: str = Field(description="What was measured.")
    metric_type: str = Field(description="What kind of measurement it is.")
    metrics: dict[str, Any] = Field(description="The figures.")
    timestamp: datetime = Field(description="When it was measured, in UTC.")


class MeasurementPage(Schema):
    results: list[MeasurementOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


SUCCESS_RATE = "Share of the finished runs that completed, from 0 to 1; null while there are none."


class RunCounts(Schema):
    """Of an adapter, a workflow or a day. A run is a stored execution or a measurement of one that is not stored."""

    runs: int = Field(description="How many runs there were.")
    completed: int = Field(description="How many of them completed.")
    failed: int = Field(description="How many of them failed.")
    success_rate: float | None = Field(description=SUCCESS_RATE)
    average_seconds: float | None = Field(description="Average duration of the finished runs.")


class AdapterOut(RunCounts):
    adapter: str
    health_status: str = Field(description="`healthy`, `degraded`, `unhealthy` or `unknown`, as measured last.")
    latency_ms: float | None = Field(description="As measured last; null if that had none.")
    memory_mb: float | None = Field(description="As measured last; null if that had none.")
    error_count: int = Field(description="Errors of the last measurement.")
    measured_at: datetime | None = Field(description="When it was measured last, in UTC; null for never.")
    measurements: int = Field(description="How many measurements of its health there are.")
    average_latency_ms: float | None = Field(description="Average latency of the measurements.")
    average_memory_mb: float | None = Field(description="Average memory of the measurements.")
    errors: int = Field(description="Sum of the errors of all measurements.")
    is_failing: bool = Field(description="Whether there were errors, or runs that failed.")


class AdaptersOut(Schema):
    results: list[AdapterOut]
    next: str | None = None
    previous: str | None = None


class PickedAdapter(Schema):
    adapter: str
    latency_ms: float = Field(description="As measured last.")
    memory_mb: float | None = Field(description="As measured last; null if that had none.")
    measured_at: datetime = Field(description="When it was measured last, in UTC.")


class PickOut(Schema):
    adapter: PickedAdapter | None = Field(description="The fastest one; null if none is healthy and fast enough.")


class WorkflowOut(RunCounts):
    workflow_id: str = Field(description="The workflow.")
    longest_seconds: float | None = Field(description="Duration of the longest run.")
    slow_runs: int = Field(description="How many runs took longer than `slow_seconds`.")
    is_slow: bool = Field(description="Whether they take longer than `slow_seconds` on average.")
    last_run: datetime = Field(description="When the latest one started or was measured, in UTC.")


class WorkflowsOut(Schema):
    results: list[WorkflowOut]
    next: str | None = None
    previous: str | None = None


class PerformanceDayOut(RunCounts):
    day: date = Field(description="The day, in UTC.")
    measurements: int = Field(description="How many measurements of the health of adapters there are.")
    average_latency_ms: float | None = Field(description="Average latency of the measurements.")
    average_memory_mb: float | None = Field(description="Average memory of the measurements.")
    errors: int = Field(description="Sum of the errors of all measurements.")


class TrendsOut(Schema):
    results: list[PerformanceDayOut]
    next: str | None = None
    previous: str | None = None


class AnomalyOut(Schema):
    subject: Literal["workflow", "adapter"] = Field(description="`workflow` or `adapter`.")
    name: str = Field(description="Id of the workflow, or the adapter.")
    kind: Literal["duration", "latency", "memory", "error_rate"] = Field(
        description="`duration` in seconds, `latency` in milliseconds, `memory` in megabytes, `error_rate` from 0 to 1."
    )
    value: float = Field(description="What was measured.")
    average: float | None = Field(description="Average of the period; null for an error rate.")
    limit: float = Field(description="What it may be at most.")
    occurred_at: datetime = Field(description="When, in UTC; of an error rate the last failure.")
    id: UUID | None = Field(description="Id of the execution or measurement; null for an error rate.")


class AnomaliesOut(Schema):
    results: list[AnomalyOut]
    next: str | None = None
    previous: str | None = None


MEASUREMENT_COLUMNS = tuple(MeasurementOut.model_fields)
