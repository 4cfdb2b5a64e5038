"""Reports of maintenance."""

from datetime import datetime

from django.db import models

#: Of the weekly ones these are two years.
MAX_KEPT_REPORTS = 104
DAMAGED_PAGE = "damaged page"


class MaintenanceReportQuerySet(models.QuerySet["MaintenanceReport"]):
    def latest_finished(self) -> "MaintenanceReport | None":
        return self.exclude(finished_at=None).order_by("-started_at").first()

    def latest_page_check(self) -> "MaintenanceReport | None":
        """Return the last finished report for which every page was read, or None."""
        return self.filter(checked_pages=True).exclude(finished_at=None).order_by("-started_at").first()

    def count_damage(self, failures: int, latest_failure: datetime | None) -> int:
        """Return how many damaged pages are known: of the last check of every page, or of PostgreSQL's own count.

        That never goes down. Once a check after the latest failure found nothing, it is about what was mended.
        """
        check = self.latest_page_check()
        if check is None or check.finished_at is None:
            return failures
        if check.damaged_pages:
            return max(failures, len(check.damaged_pages))
        return failures if latest_failure is not None and latest_failure > check.finished_at else 0

    def forget_old(self) -> None:
        kept = self.order_by("-started_at").values("pk")[:MAX_KEPT_REPORTS]
        self.exclude(pk__in=list(kept.values_list("pk", flat=True))).delete()


class MaintenanceReport(models.Model):
    """One run: what was done, what was found, and the health score afterwards, with its parts."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, help_text="Empty: it runs, or was interrupted.")
    progress = models.FloatField(default=0, help_text="From 0 to 1.")
    message = models.TextField(default="", help_text="What is being done.")
    score = models.PositiveSmallIntegerField(null=True, help_text="0 to 100.")
    checked_pages = models.BooleanField(default=False, help_text="Whether every page was read.")
    parts = models.JSONField(default=list, help_text="Of the score: name, weight, value, points, improve, critical.")
    findings = models.JSONField(default=list, help_text="severity, kind, object, message, command of each.")
    done = models.JSONField(default=list, help_text="kind, object, message of each step.")

    objects = MaintenanceReportQuerySet.as_manager()

    class Meta:
        ordering = ("-started_at", "-id")

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"

    @property
    def problems(self) -> list[dict]:
        return [finding for finding in self.findings if finding["severity"] == "problem"]

    @property
    def damaged_pages(self) -> list[dict]:
        return [finding for finding in self.findings if finding["kind"] == DAMAGED_PAGE]
