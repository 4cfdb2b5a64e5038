"""Statistics of adapters and workflows, each of one statement over a namespace and a number of days.

A run is a stored execution, or a measurement of type `workflow_execution` whose execution is not stored. An adapter
fails with more than 0 errors, a workflow is slow above 5 s, and an anomaly is a time above 3 times the average of the
period, memory above 2 times, or more than 10 % of errors.
"""

from typing import Any

from django.db import connection

from ingestion.models import ADAPTER_HEALTH, WORKFLOW_EXECUTION

DEFAULT_DAYS, MAX_DAYS, MAX_ROWS = 7, 365, 1_000
SLOW_SECONDS, PICKED_LATENCY_MS, PICKED_AGE_MINUTES = 5.0, 1000.0, 60
TIME_FACTOR, MEMORY_FACTOR, MAX_ERROR_RATE = 3, 2, 0.1
WORKFLOW_PREFIX = "workflow_"


EXECUTION_ID_SQL = "CASE WHEN metrics ->> 'execution_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
PERIOD_SQL = "now() - make_interval(days => %(days)s)"
# A measurement of a stored execution adds figures to it, and is no run of its own.
RUNS_SQL = f"""
run AS NOT MATERIALIZED (
    SELECT id, workflow_id, adapter, status, duration_seconds AS seconds, started_at AS at
    FROM ingestion_workflowexecution
    WHERE namespace_id = %(namespace)s AND started_at >= {PERIOD_SQL}
    UNION ALL
    SELECT id, regexp_replace(component, '^{WORKFLOW_PREFIX}(?=.)', ''), metrics ->> 'adapter', metrics ->> 'status',
           duration_seconds, timestamp
    FROM ingestion_performancemetric metric
    WHERE namespace_id = %(namespace)s AND metric_type = '{WORKFLOW_EXECUTION}' AND timestamp >= {PERIOD_SQL}
        AND NOT EXISTS (
            SELECT FROM ingestion_workflowexecution stored
            WHERE stored.namespace_id = %(namespace)s
                AND stored.id = {EXECUTION_ID_SQL} THEN (metrics ->> 'execution_id')::uuid END
        )
)"""
HEALTH_SQL = f"""
health AS NOT MATERIALIZED (
    SELECT id, component AS adapter, metrics ->> 'health_status' AS health_status, latency_ms, memory_mb,
           coalesce(error_count, 0)::bigint AS error_count, timestamp AS measured_at
    FROM ingestion_performancemetric
    WHERE namespace_id = %(namespace)s AND metric_type = '{ADAPTER_HEALTH}' AND timestamp >= {PERIOD_SQL}
)"""
COUNT_RUNS_SQL = """
    count(*) AS runs,
    count(*) FILTER (WHERE status = 'completed') AS completed,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    avg(seconds) AS average_seconds
"""
RATE_SQL = "completed::float8 / nullif(completed + failed, 0)"
RUN_COLUMNS_SQL = f"""
    coalesce(runs, 0) AS runs, coalesce(completed, 0) AS completed, coalesce(failed, 0) AS failed,
    {RATE_SQL} AS success_rate, average_seconds
"""
SUM_HEALTH_SQL = """
    count(*) AS measurements, avg(latency_ms) AS average_latency_ms, avg(memory_mb) AS average_memory_mb,
    sum(error_count)::bigint AS errors
"""
SELECT_ADAPTERS_SQL = f"""
WITH {RUNS_SQL}, {HEALTH_SQL},
measured AS (SELECT adapter, {SUM_HEALTH_SQL} FROM health GROUP BY adapter),
latest AS (
    SELECT measured.*, last.* FROM measured CROSS JOIN LATERAL (
        SELECT health_status, latency_ms, memory_mb, error_count, measured_at FROM health
        WHERE health.adapter = measured.adapter ORDER BY measured_at DESC, id DESC LIMIT 1
    ) last
),
ran AS (SELECT adapter, {COUNT_RUNS_SQL} FROM run WHERE adapter IS NOT NULL GROUP BY adapter),
adapters AS (
    SELECT adapter, coalesce(health_status, 'unknown') AS health_status, latency_ms, memory_mb,
           coalesce(error_count, 0) AS error_count, measured_at, coalesce(measurements, 0) AS measurements,
           average_latency_ms, average_memory_mb, coalesce(errors, 0) AS errors,
           coalesce(errors, 0) > 0 OR coalesce(failed, 0) > 0 AS is_failing, {RUN_COLUMNS_SQL}
    FROM latest FULL JOIN ran USING (adapter)
)
SELECT * FROM adapters
WHERE %(failing)s::boolean IS NULL OR is_failing = %(failing)s::boolean
ORDER BY adapter LIMIT {MAX_ROWS}
"""
# Only what was measured of late says how an adapter is now.
SELECT_PICKED_ADAPTER_SQL = f"""
WITH latest AS (
    SELECT DISTINCT ON (component) component AS adapter, metrics ->> 'health_status' AS health_status,
           latency_ms, memory_mb, error_count, timestamp AS measured_at
    FROM ingestion_performancemetric
    WHERE namespace_id = %(namespace)s AND metric_type = '{ADAPTER_HEALTH}'
        AND timestamp >= now() - make_interval(mins => %(minutes)s)
    ORDER BY component, timestamp DESC, id DESC
)
SELECT adapter, latency_ms, memory_mb, measured_at FROM latest
WHERE health_status = 'healthy' AND latency_ms < %(latency)s AND error_count = 0
ORDER BY latency_ms, adapter LIMIT 1
"""
SELECT_WORKFLOWS_SQL = f"""
WITH {RUNS_SQL},
workflow AS (
    SELECT workflow_id, {COUNT_RUNS_SQL}, max(seconds) AS longest_seconds, max(at) AS last_run,
           count(*) FILTER (WHERE seconds > %(slow_seconds)s) AS slow_runs,
           coalesce(avg(seconds) > %(slow_seconds)s, false) AS is_slow
    FROM run GROUP BY workflow_id
)
SELECT workflow_id, {RUN_COLUMNS_SQL}, longest_seconds, slow_runs, is_slow, last_run
FROM workflow
WHERE %(slow)s::boolean IS NULL OR is_slow = %(slow)s::boolean
ORDER BY average_seconds DESC NULLS LAST, workflow_id LIMIT {MAX_ROWS}
"""
SELECT_TRENDS_SQL = f"""
WITH {RUNS_SQL}, {HEALTH_SQL},
ran AS (
    SELECT (at AT TIME ZONE 'UTC')::date AS day, {COUNT_RUNS_SQL} FROM run
    WHERE (%(workflow)s::text IS NULL OR workflow_id = %(workflow)s)
        AND (%(adapter)s::text IS NULL OR adapter = %(adapter)s)
    GROUP BY 1
),
measured AS (
    SELECT (measured_at AT TIME ZONE 'UTC')::date AS day, {SUM_HEALTH_SQL} FROM health
    WHERE %(workflow)s::text IS NULL AND (%(adapter)s::text IS NULL OR adapter = %(adapter)s)
    GROUP BY 1
)
SELECT day, {RUN_COLUMNS_SQL}, coalesce(measurements, 0) AS measurements,
       average_latency_ms, average_memory_mb, coalesce(errors, 0) AS errors
FROM (
    SELECT (now() AT TIME ZONE 'UTC')::date - ago AS day FROM generate_series(0, %(days)s - 1) ago
) days
LEFT JOIN ran USING (day) LEFT JOIN measured USING (day)
ORDER BY day
"""
SELECT_ANOMALIES_SQL = f"""
WITH {RUNS_SQL}, {HEALTH_SQL},
measured (subject, name, kind, factor, value, occurred_at, id) AS NOT MATERIALIZED (
    SELECT 'workflow', workflow_id, 'duration', {TIME_FACTOR}, seconds, at, id FROM run
    UNION ALL
    SELECT 'workflow', regexp_replace(component, '^{WORKFLOW_PREFIX}(?=.)', ''), 'memory', {MEMORY_FACTOR},
           memory_mb, timestamp, id
    FROM ingestion_performancemetric
    WHERE namespace_id = %(namespace)s AND metric_type = '{WORKFLOW_EXECUTION}' AND timestamp >= {PERIOD_SQL}
    UNION ALL
    SELECT 'adapter', adapter, 'latency', {TIME_FACTOR}, latency_ms, measured_at, id FROM health
    UNION ALL
    SELECT 'adapter', adapter, 'memory', {MEMORY_FACTOR}, memory_mb, measured_at, id FROM health
),
averages AS (SELECT subject, name, kind, avg(value) AS average FROM measured GROUP BY subject, name, kind),
finished AS (
    SELECT subject, name, {COUNT_RUNS_SQL}, max(at) FILTER (WHERE status = 'failed') AS last_failure
    FROM run CROSS JOIN LATERAL (VALUES ('workflow', workflow_id), ('adapter', adapter)) counted (subject, name)
    WHERE name IS NOT NULL
    GROUP BY subject, name
)
SELECT subject, name, kind, value, average, factor * average AS "limit", occurred_at, id
FROM measured JOIN averages USING (subject, name, kind) WHERE value > factor * average
UNION ALL
SELECT subject, name, 'error_rate', failed::float8 / (completed + failed), NULL, {MAX_ERROR_RATE}, last_failure, NULL
FROM finished WHERE failed > {MAX_ERROR_RATE} * (completed + failed)
ORDER BY occurred_at DESC, subject, name, kind, id LIMIT {MAX_ROWS}
"""


def fetch_adapters(namespace_id: int, days: int, failing: bool | None) -> list[dict[str, Any]]:
    """Return the adapters by name, each with the fields of AdapterOut; only failing ones, only others, or all."""
    return fetch_dicts(SELECT_ADAPTERS_SQL, namespace=namespace_id, days=days, failing=failing)


def pick_adapter(namespace_id: int, max_latency_ms: float, max_age_minutes: int) -> dict[str, Any] | None:
    """Return the fastest adapter that was measured as healthy, without errors and below the latency, or None."""
    parameters = {"latency": max_latency_ms, "minutes": max_age_minutes}
    return next(iter(fetch_dicts(SELECT_PICKED_ADAPTER_SQL, namespace=namespace_id, **parameters)), None)


def fetch_workflows(namespace_id: int, days: int, slow_seconds: float, slow: bool | None) -> list[dict[str, Any]]:
    """Return the workflows, the slowest first, each with the fields of WorkflowOut."""
    parameters = {"days": days, "slow_seconds": slow_seconds, "slow": slow}
    return fetch_dicts(SELECT_WORKFLOWS_SQL, namespace=namespace_id, **parameters)


def fetch_trends(namespace_id: int, days: int, workflow_id: str | None, adapter: str | None) -> list[dict[str, Any]]:
    """Return one row for each of the last days, today among them, oldest first: PerformanceDayOut has the fields."""
    parameters = {"days": days, "workflow": workflow_id, "adapter": adapter}
    return fetch_dicts(SELECT_TRENDS_SQL, namespace=namespace_id, **parameters)


def fetch_anomalies(namespace_id: int, days: int) -> list[dict[str, Any]]:
    """Return the anomalies of the period, the latest first, each with the fields of AnomalyOut."""
    return fetch_dicts(SELECT_ANOMALIES_SQL, namespace=namespace_id, days=days)


def fetch_dicts(sql: str, **parameters: Any) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]
