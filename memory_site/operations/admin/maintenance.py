"""The console's page of maintenance: each run with its score, what was done, and what is left to do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import display

from memory_site.core.admin.base import ReadOnlyAdmin
from memory_site.core.admin.formatting import format_datetime, format_duration, render_progress_bar
from memory_site.operations.models import MaintenanceReport

#: From which score on a run is shown as good, and from which on as fair.
GOOD_SCORE, FAIR_SCORE = 90, 70
COLUMNS = {
    "Score": ("parts", ("name", "points", "weight", "value", "improve")),
    "Found": ("findings", ("severity", "kind", "object", "message", "command")),
    "Done": ("done", ("kind", "object", "message")),
}


@admin.register(MaintenanceReport)
class MaintenanceReportAdmin(ReadOnlyAdmin):
    empty_text = "A report appears after each manage.py maintain, which runs every week."
    list_display = ("started", "state", "score_shown", "problem_count", "done_count", "duration", "progress_shown")
    list_display_links = ("started",)
    fields = (("started", "duration", "state"), ("total", "checked_pages", "progress_shown"))
    readonly_fields = tuple(flatten(fields))
    change_form_outer_after_template = "admin/operations/maintenancereport/report.html"
    compressed_fields = False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        report = self.get_object(request, object_id)
        tables = {"report_tables": list(build_tables(report)) if report else []}
        return super().change_view(request, object_id, form_url, tables | (extra_context or {}))

    @display(description="started", ordering="started_at")
    def started(self, report: MaintenanceReport) -> SafeString | None:
        return format_datetime(report.started_at)

    @display(description="state", label={"done": "success", "problems": "danger", "unfinished": "info"})
    def state(self, report: MaintenanceReport) -> str:
        if report.finished_at is None:
            return "unfinished"
        return "problems" if report.problems else "done"

    @display(description="score", label={"good": "success", "fair": "warning", "bad": "danger"})
    def score_shown(self, report: MaintenanceReport) -> tuple[str, str] | None:
        if report.score is None:
            return None
        level = "good" if report.score >= GOOD_SCORE else "fair" if report.score >= FAIR_SCORE else "bad"
        return level, f"{report.score} of 100"

    @display(description="score")
    def total(self, report: MaintenanceReport) -> str | None:
        return None if report.score is None else f"{report.score} of 100"

    @display(description="problems")
    def problem_count(self, report: MaintenanceReport) -> int:
        return len(report.problems)

    @display(description="done")
    def done_count(self, report: MaintenanceReport) -> int:
        return len(report.done)

    @display(description="took")
    def duration(self, report: MaintenanceReport) -> str | None:
        return report.finished_at and format_duration((report.finished_at - report.started_at).total_seconds())

    @display(description="progress")
    def progress_shown(self, report: MaintenanceReport) -> SafeString:
        colour = "completed" if report.finished_at else "in_progress"
        return render_progress_bar(report.message or "finished", colour, round(100 * report.progress))


def build_tables(report: MaintenanceReport) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield title and table of what a report holds, without empty ones."""
    for title, (field, columns) in COLUMNS.items():
        if rows := getattr(report, field):
            yield title, {"headers": list(columns), "rows": list_cells(map(hide_advice, rows), columns)}


def hide_advice(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of the score without advice where it has all points."""
    return {**row, "improve": ""} if "points" in row and row["points"] in (None, row["weight"]) else row


def list_cells(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[list[Any]]:
    return [["–" if row[column] is None else row[column] for column in columns] for row in rows]
