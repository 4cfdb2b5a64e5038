"""Figures of the last maintenance. The score is counted at the end of each run, so a scrape reads one row."""

from collections.abc import Iterator

from memory_site.operations.metrics.backups import to_timestamp
from memory_site.operations.metrics.figures import Figure, Value
from memory_site.operations.models import MaintenanceReport

FINISHED = Figure("maintenance_last_timestamp_seconds", "When the last maintenance of the database ended; 0: never.")
SCORE = Figure("database_health_score", "Health of the database at the last maintenance, 0 to 100.")
PROBLEMS = Figure("maintenance_problems", "Problems that the last maintenance found and left.")
DAMAGED = Figure("damaged_pages", "Damaged pages that the last reading of every page found.")
FIGURES = (FINISHED, SCORE, PROBLEMS, DAMAGED)


def read_maintenance() -> Iterator[Value]:
    latest, checked = MaintenanceReport.objects.latest_finished(), MaintenanceReport.objects.latest_page_check()
    yield FINISHED.value(to_timestamp(latest and latest.finished_at))
    if latest is not None:
        yield SCORE.value(latest.score or 0)
        yield PROBLEMS.value(len(latest.problems))
    if checked is not None:
        yield DAMAGED.value(len(checked.damaged_pages))
