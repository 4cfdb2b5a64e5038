"""Runs of workflows over time, each counted once, whatever its repositories."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

COUNT_RUNS_SQL = """
SELECT date_bin(%(step)s, started_at, %(origin)s) AS start, count(*),
       count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
       coalesce(sum(duration_seconds), 0)::float8, count(duration_seconds)
FROM ingestion_workflowexecution
WHERE (%(namespace)s::bigint IS NULL OR namespace_id = %(namespace)s::bigint)
    AND started_at >= now() - make_interval(days => %(days)s)
GROUP BY start ORDER BY start
"""


class RunStep(NamedTuple):
    """The runs that began in a step of time: all, by end, and the seconds of those that have ended."""

    start: datetime
    runs: int
    completed: int
    failed: int
    seconds: float
    timed: int


class RunTotals(NamedTuple):
    """The sums of steps. `success_rate` is from 0 to 1, of the runs that have ended; None without any."""

    runs: int
    completed: int
    failed: int
    average_seconds: float | None
    success_rate: float | None


def count_runs(namespace_id: int | None, days: int, step: timedelta, origin: datetime) -> list[RunStep]:
    """Count the runs of the last days by step of time, oldest first; None counts those of every namespace."""
    values: dict[str, Any] = {"namespace": namespace_id, "days": days, "step": step, "origin": origin}
    with connection.cursor() as cursor:
        cursor.execute(COUNT_RUNS_SQL, values)
        return [RunStep(*row) for row in cursor.fetchall()]


def sum_runs(steps: Sequence[RunStep]) -> RunTotals:
    completed, failed = sum(step.completed for step in steps), sum(step.failed for step in steps)
    seconds, timed = sum(step.seconds for step in steps), sum(step.timed for step in steps)
    return RunTotals(
        sum(step.runs for step in steps),
        completed,
        failed,
        seconds / timed if timed else None,
        completed / (completed + failed) if completed + failed else None,
    )
