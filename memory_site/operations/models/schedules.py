"""Which schedules were created, and how their tasks end."""

from collections.abc import Container
from datetime import UTC, datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

MAX_MESSAGE_LENGTH = 500
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class SeededSchedule(models.Model):
    """The name of a periodic task's schedule that was created from the settings, whether it still exists or not."""

    name = models.CharField(primary_key=True, max_length=200)

    def __str__(self) -> str:
        return self.name


class ScheduleOutcomeQuerySet(models.QuerySet["ScheduleOutcome"]):
    def note_request(self, name: str, by: str) -> None:
        """Note that an operator wants a run now."""
        self.update_or_create(name=name, defaults={"requested_at": Now(), "requested_by": by})

    def note_start(self, name: str, process: str) -> None:
        self.update_or_create(name=name, defaults={"started_at": Now(), "process": process})

    def note_success(self, name: str, seconds: float | None) -> None:
        self.update_or_create(name=name, defaults={"succeeded_at": Now(), "seconds": seconds})

    def note_failure(self, name: str, error: str, message: str, seconds: float | None) -> None:
        values = {"failed_at": Now(), "error": error, "message": message[:MAX_MESSAGE_LENGTH], "seconds": seconds}
        self.update_or_create(name=name, defaults=values)

    def failing(self) -> "ScheduleOutcomeQuerySet":
        """Keep those whose last run failed."""
        failed_last = Q(succeeded_at=None) | Q(succeeded_at__lt=models.F("failed_at"))
        return self.filter(failed_last, failed_at__isnull=False).order_by("name")


class RunState(models.TextChoices):
    NEVER = "not yet"
    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ScheduleOutcome(models.Model):
    """How the task of a schedule ran last. Beat itself only knows when it sent a message.

    The runs of a frequent task are noted every two minutes; one that failed or was asked for by hand always.
    """

    name = models.CharField(primary_key=True, max_length=200, help_text="Of the schedule.")
    requested_at = models.DateTimeField(null=True, help_text="When a run was requested in the console.")
    requested_by = models.CharField(max_length=200, default="", db_default="")
    started_at = models.DateTimeField(null=True)
    process = models.CharField(
        max_length=255, default="", db_default="", help_text="Host and process id of its worker."
    )
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True, help_text="How long the last run took.")
    error = models.CharField(max_length=200, default="", help_text="The kind of the last error, without its text.")
    message = models.CharField(
        max_length=MAX_MESSAGE_LENGTH, default="", db_default="", help_text="Its text, unless that may hold data."
    )

    objects = ScheduleOutcomeQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def ended_at(self) -> datetime | None:
        return max(filter(None, (self.succeeded_at, self.failed_at)), default=None)

    def find_state(self, alive: Container[str]) -> RunState:
        """Return how far the last run is. `alive` are the names of the workers whose heart beats."""
        started, ended = self.started_at, self.ended_at
        if self.requested_at and self.requested_at > max(filter(None, (started, ended)), default=LONG_AGO):
            return RunState.QUEUED
        if started and (ended is None or started > ended):
            return RunState.RUNNING if self.process in alive else RunState.INTERRUPTED
        if ended is None:
            return RunState.NEVER
        return RunState.FAILED if ended == self.failed_at else RunState.SUCCEEDED
