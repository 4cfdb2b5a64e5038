"""Which schedules were created, and how their tasks end."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class SeededSchedule(models.Model):
    """The name of a periodic task's schedule that was created from the settings, whether it still exists or not."""

    name = models.CharField(primary_key=True, max_length=200)

    def __str__(self) -> str:
        return self.name


class ScheduleOutcomeQuerySet(models.QuerySet["ScheduleOutcome"]):
    def note_success(self, name: str) -> None:
        self.update_or_create(name=name, defaults={"succeeded_at": Now()})

    def note_failure(self, name: str, error: str) -> None:
        self.update_or_create(name=name, defaults={"failed_at": Now(), "error": error})

    def failing(self) -> "ScheduleOutcomeQuerySet":
        """Keep those whose last run failed."""
        failed_last = Q(succeeded_at=None) | Q(succeeded_at__lt=models.F("failed_at"))
        return self.filter(failed_last, failed_at__isnull=False).order_by("name")


class ScheduleOutcome(models.Model):
    """When the task of a schedule last succeeded and last failed. Beat itself only knows when it sent a message."""

    name = models.CharField(primary_key=True, max_length=200, help_text="Of the schedule.")
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, default="", help_text="The kind of the last error, without its text.")

    objects = ScheduleOutcomeQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
