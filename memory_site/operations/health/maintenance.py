"""The health check of the last maintenance: its score and the problems that it left."""

from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.models import MaintenanceReport

#: Of 100. Below it searches or writes are slower than they need to be, or something is damaged.
MIN_SCORE = 60
MAINTAIN = "python manage.py maintain"


def check_maintenance() -> CheckResult:
    """Check what the last run found, which costs nothing now. Whether it ran is the schedules' check."""
    report = MaintenanceReport.objects.latest_finished()
    if report is None:
        return HealthStatus.HEALTHY, "Not done yet: the first time is Sunday, 05:00 UTC."
    score = f"The database has {report.score} of 100 points" if report.score is not None else "It has no score"
    if report.problems:
        problem = report.problems[0]
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        return HealthStatus.DEGRADED, f"{problem['message']}{more} {score}.", problem["command"] or MAINTAIN
    if report.score is not None and report.score < MIN_SCORE:
        return HealthStatus.DEGRADED, f"{score}.", MAINTAIN
    return HealthStatus.HEALTHY, f"{score}, on {report.finished_at:%Y-%m-%d}."
