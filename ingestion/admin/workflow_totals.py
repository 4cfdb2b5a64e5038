"""Totals and chart above the workflow report."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from ingestion.admin.shared import build_admin_url
from ingestion.workflow_history import RunStep, count_runs, sum_runs
from memory_site.core.admin.charts import Cell, Chart, draw_chart
from memory_site.core.admin.formatting import format_duration, format_number

#: A Monday: steps of an hour, a day and a week begin at round times.
ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
#: Longer periods are drawn in weeks, of which the last year's are drawn.
MAX_DAYS_IN_DAYS, MAX_STEPS = 90, 53


def build_totals_context(namespace_id: int | None, days: int) -> dict[str, Any]:
    """Return totals with links, and the chart, of the runs of the last days."""
    step = HOUR if days == 1 else DAY if days <= MAX_DAYS_IN_DAYS else WEEK
    steps = count_runs(namespace_id, days, step, ORIGIN)
    totals = sum_runs(steps)
    filters: dict[str, Any] = {"days": days} | ({"namespace": namespace_id} if namespace_id else {})
    return {
        "totals": [
            ("runs", format_number(totals.runs), build_admin_url("workflowexecution", **filters)),
            ("completed", format_number(totals.completed), build_list_url(filters, "completed")),
            ("failed", format_number(totals.failed), build_list_url(filters, "failed")),
            ("success rate", format_rate(totals.success_rate), ""),
            ("average", "-" if totals.average_seconds is None else format_duration(totals.average_seconds), ""),
        ],
        "chart": draw_runs(steps, step, days) if steps else None,
    }


def build_list_url(filters: dict[str, Any], status: str) -> str:
    return build_admin_url("workflowexecution", **filters, status=status)


def format_rate(rate: float | None) -> str:
    """Return a share as a percentage that is 100 % only if nothing failed."""
    if rate is None:
        return "-"
    return "100 %" if rate == 1 else f"{min(100 * rate, 99.9):.1f} %"


def draw_runs(steps: Sequence[RunStep], step: timedelta, days: int) -> Chart:
    """Draw completed and failed runs of each step; the table has no links, because no list filters by such a time."""
    latest = ORIGIN + (timezone.now() - ORIGIN) // step * step
    number = min(MAX_STEPS if step == WEEK else timedelta(days=days) // step + 1, MAX_DAYS_IN_DAYS + 1)
    starts = [latest - ago * step for ago in reversed(range(number))]
    known = {each.start: each for each in steps}
    none = RunStep(latest, 0, 0, 0, 0.0, 0)
    shown = [known.get(start, none) for start in starts]
    series = {"completed": [each.completed for each in shown], "failed": [each.failed for each in shown]}
    format_start = "%m-%d %H:%M" if step == HOUR else "%Y-%m-%d"
    rows = [
        (f"{start:{format_start}}", [Cell(n, "") for n in (each.completed, each.failed, each.completed + each.failed)])
        for start, each in zip(starts, shown, strict=True)
    ]
    summary = f"Runs over time: {sum(series['completed']):,} completed, {sum(series['failed']):,} failed."
    labels = [f"{start:{'%H:%M' if step == HOUR else '%m-%d'}}" for start in starts]
    return draw_chart(summary, labels, series, rows, colours=("--series-3", "--series-5"))
