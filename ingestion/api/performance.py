"""/performance: measurements of adapters and workflows, and statistics over them."""

from datetime import datetime

from ninja import Body, Query, Router

from ingestion.models import PerformanceMetric, PerformanceMetricQuerySet
from ingestion.performance import statistics
from ingestion.performance.measurements import store_measurements
from ingestion.performance.statistics import (
    DEFAULT_DAYS,
    MAX_DAYS,
    PICKED_AGE_MINUTES,
    PICKED_LATENCY_MS,
    SLOW_SECONDS,
)
from ingestion.schemas.performance import (
    MEASUREMENT_COLUMNS,
    AdaptersOut,
    AnomaliesOut,
    MeasurementPage,
    Measurements,
    MeasurementsIn,
    PickOut,
    StoredOut,
    TrendsOut,
    WorkflowsOut,
)
from ingestion.schemas.workflows import MAX_DURATION_SECONDS
from memory_site.core.errors import InvalidField
from memory_site.core.http.fields import Label, Timestamp
from memory_site.core.http.pagination import paginate
from memory_site.core.http.responses import PROBLEMS, json_response
from sessions_app.auth import ApiRequest, read_access, write_access
from sessions_app.write_operations import write_operation

router = Router(tags=["performance"])
Days = Query(DEFAULT_DAYS, ge=1, le=MAX_DAYS)


def list_response(rows: list[dict]):
    return json_response({"results": rows, "next": None, "previous": None})


@router.post("/performance", auth=write_access, response={201: StoredOut, **PROBLEMS})
@write_operation
def add_measurements(request: ApiRequest, payload: Body[Measurements]):
    """Store one measurement, or up to 1,000: all, or none when one is invalid (`errors` names its position). They are
    deleted after 90 days (PERFORMANCE_RETENTION_DAYS)."""
    several = payload.measurements if isinstance(payload, MeasurementsIn) else [payload]
    return json_response({"ids": store_measurements(request.auth.namespace_id, several)}, 201)


@router.get("/performance", auth=read_access, response={200: MeasurementPage, **PROBLEMS})
def list_measurements(
    request: ApiRequest,
    component: Label | None = None,
    metric_type: Label | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
    limit: int = Query(20, ge=1, le=100),
    cursor: str | None = None,
):
    """List measurements, newest first."""
    rows = filter_by_time(PerformanceMetric.objects.in_namespace(request.auth.namespace_id), since, until)
    labels = {"component": component, "metric_type": metric_type}
    rows = rows.filter(**{name: value for name, value in labels.items() if value is not None})
    return json_response(paginate(rows, MEASUREMENT_COLUMNS, limit, cursor, dict, moment="timestamp"))


def filter_by_time(
    rows: PerformanceMetricQuerySet, since: datetime | None, until: datetime | None
) -> PerformanceMetricQuerySet:
    """Filter to the period. Raises InvalidField for one that ends before it begins."""
    if since and until and until < since:
        raise InvalidField("until", "may not lie before since")
    rows = rows.filter(timestamp__gte=since) if since else rows
    return rows.filter(timestamp__lt=until) if until else rows


@router.get("/performance/adapters", auth=read_access, response={200: AdaptersOut, **PROBLEMS})
def list_adapters(
    request: ApiRequest,
    days: int = Days,
    failing: bool | None = Query(None, description="Only adapters with errors or failed runs; false: only the others."),
):
    """List the adapters that were measured or ran a workflow in the last days, by name: health as measured last, and
    figures of the period. At most 1,000 rows."""
    return list_response(statistics.fetch_adapters(request.auth.namespace_id, days, failing))


@router.get("/performance/adapters/pick", auth=read_access, response={200: PickOut, **PROBLEMS})
def pick_adapter(
    request: ApiRequest,
    max_latency_ms: float = Query(
        PICKED_LATENCY_MS,
        gt=0,
        le=MAX_DURATION_SECONDS,
        allow_inf_nan=False,
        description="It must be faster.",
    ),
    max_age_minutes: int = Query(
        PICKED_AGE_MINUTES, ge=1, le=24 * 60, description="How old its last measurement may be, in minutes."
    ),
):
    """Pick the fastest adapter whose last measurement is `healthy`, recent, and without errors."""
    return json_response(
        {"adapter": statistics.pick_adapter(request.auth.namespace_id, max_latency_ms, max_age_minutes)}
    )


@router.get("/performance/workflows", auth=read_access, response={200: WorkflowsOut, **PROBLEMS})
def list_workflows(
    request: ApiRequest,
    days: int = Days,
    slow_seconds: float = Query(
        SLOW_SECONDS,
        ge=0,
        le=MAX_DURATION_SECONDS,
        allow_inf_nan=False,
        description="A run is slow above it.",
    ),
    slow: bool | None = Query(None, description="Only workflows that are slow on average; false: only the others."),
):
    """List the workflows that ran in the last days, the slowest first, with success rate and durations. At most 1,000
    rows."""
    return list_response(statistics.fetch_workflows(request.auth.namespace_id, days, slow_seconds, slow))


@router.get("/performance/trends", auth=read_access, response={200: TrendsOut, **PROBLEMS})
def list_trends(
    request: ApiRequest,
    days: int = Days,
    workflow_id: Label | None = None,
    adapter: Label | None = None,
):
    """List the last days, today among them, the oldest first, each with its runs and measurements of adapters. Those of
    a workflow have no measurements."""
    return list_response(statistics.fetch_trends(request.auth.namespace_id, days, workflow_id, adapter))


@router.get("/performance/anomalies", auth=read_access, response={200: AnomaliesOut, **PROBLEMS})
def list_anomalies(request: ApiRequest, days: int = Days):
    """List what stands out in the last days, the latest first: runs and latencies of more than 3 times the average,
    memory of more than 2 times, workflows and adapters of which more than 10 % of the runs failed. At most 1,000
    rows."""
    return list_response(statistics.fetch_anomalies(request.auth.namespace_id, days))
