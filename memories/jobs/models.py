"""Jobs: long actions on many memories, run by a worker in batches, and the files that exports write."""

import re
from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Cast, JSONObject, Now
from django.utils import timezone

from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel
from sessions_app.models import namespace_key

#: A job that is open and shows no sign of work for so long has no worker.
WORKER_TIMEOUT = timedelta(seconds=60)
#: How long the file of an export can be downloaded.
FILE_LIFETIME = timedelta(days=7)


class JobState(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    FAILED = "failed"
    UNDONE = "undone"


OPEN_STATES = (JobState.PENDING, JobState.RUNNING, JobState.CANCELLING)
#: A job in one of these has changed memories, or may have, and does nothing more.
ENDED_STATES = (JobState.CANCELLED, JobState.FINISHED, JobState.FAILED)


def has_value(column: str, value: str) -> Func:
    """Return the condition that a text anywhere in a column of JSON is this one."""
    path, names = Value("$.** ? (@ == $value)"), JSONObject(value=Cast(Value(value), models.TextField()))
    return Func(F(column), path, names, function="jsonb_path_exists", output_field=models.BooleanField())


class JobQuerySet(models.QuerySet["Job"]):
    def in_namespace(self, namespace_id: int) -> "JobQuerySet":
        return self.filter(namespace_id=namespace_id)

    def open(self) -> "JobQuerySet":
        """Select the jobs that a worker has to end, in the order in which they were asked for."""
        return self.filter(state__in=OPEN_STATES).order_by("created_at", "pk")

    def stuck(self) -> "JobQuerySet":
        """Select open jobs that no worker has touched for WORKER_TIMEOUT."""
        return self.open().filter(last_heartbeat_at__lt=Now() - WORKER_TIMEOUT)

    def naming_user(self, user_id: str) -> "JobQuerySet":
        """Select the jobs whose selection or parameters have the user id as a value, or as a word of the text."""
        named = Q(has_value("selection", user_id)) | Q(has_value("parameters", user_id))
        return self.filter(named | Q(selection__text__iregex=rf"(^|\W){re.escape(user_id)}($|\W)"))


class Job(NamespacedModel):
    """One action on the memories of a selection. The row is also the queue entry: a job stays open until its end.

    A batch is one transaction that changes at most a thousand memories, in the order of their ids, and moves `cursor`
    behind the last one: whatever ends a worker, no batch is done twice and none is left out.
    """

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=32)
    parameters = models.JSONField(default=dict, blank=True)
    selection = models.JSONField(default=dict, blank=True, help_text="Which memories: see memories.search.selection.")
    state = models.CharField(max_length=16, choices=JobState, default=JobState.PENDING)
    matched = models.PositiveIntegerField(null=True, help_text="Memories that matched when the job was created.")
    done = models.PositiveIntegerField(default=0, help_text="Memories that it has changed, deleted or written.")
    failed = models.PositiveIntegerField(default=0, help_text="Memories that it had to leave as they were.")
    cursor = models.UUIDField(null=True, help_text="The last memory of the last batch.")
    last_id = models.UUIDField(null=True, help_text="Memories with a greater id came after the job, which leaves them.")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Workers that began since the last batch.")
    created_by = models.CharField(max_length=255, default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    last_heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    duration_seconds = duration_field("started_at", "finished_at")
    message = models.TextField(default="", blank=True)
    log = models.JSONField(default=list, help_text="Memories that it had to leave, and why; the first thousand.")
    result = models.JSONField(default=dict, blank=True)
    undo_of = models.UUIDField(null=True, help_text="The job whose changes this one takes back.")

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_state_is_known"),
            models.UniqueConstraint(
                fields=["namespace", "undo_of"],
                condition=Q(undo_of__isnull=False, state__in=["pending", "running", "cancelling"]),
                name="one_undo_of_a_job_at_a_time",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="job_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="job_newest_of_all"),
            models.Index(
                F("namespace"),
                F("created_at"),
                name="job_open",
                condition=Q(state__in=["pending", "running", "cancelling"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action.replace('_', ' ').capitalize()}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def handled(self) -> int:
        """The number of memories that it has looked at."""
        return self.done + self.failed

    @property
    def percent(self) -> int:
        """How much is done, of 100. Memories that are gone meanwhile are not waited for."""
        if not self.is_open:
            return 100 if self.state in (JobState.FINISHED, JobState.UNDONE) else self._handled_percent
        return min(self._handled_percent, 99)

    @property
    def _handled_percent(self) -> int:
        return min(100 * self.handled // max(self.matched or 0, 1), 100)

    @property
    def rate(self) -> float | None:
        """Memories per second, from the start to the last batch."""
        if self.started_at is None or not self.handled:
            return None
        until = self.finished_at or self.last_heartbeat_at
        return self.handled / max((until - self.started_at).total_seconds(), 0.001)

    @property
    def seconds_left(self) -> float | None:
        rate = self.rate
        if self.state != JobState.RUNNING or not rate or self.matched is None:
            return None
        return max(self.matched - self.handled, 0) / rate

    @property
    def is_stuck(self) -> bool:
        return self.is_open and timezone.now() - self.last_heartbeat_at > WORKER_TIMEOUT


class JobFileQuerySet(models.QuerySet["JobFile"]):
    def outdated(self) -> "JobFileQuerySet":
        return self.filter(created_at__lt=Now() - FILE_LIFETIME)


class JobFile(NamespacedModel):
    """A part of the file of an export, as written by one batch: gzip members, which are one gzip file in a row.

    In the database, so that part and cursor are stored by one transaction, and the web server reads what a worker of
    another machine has written.
    """

    pk = models.CompositePrimaryKey("namespace_id", "job_id", "number")
    namespace = namespace_key()
    job = NamespacedForeignKey(Job, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()
    size = models.PositiveIntegerField(help_text="Bytes, when unpacked.")
    created_at = models.DateTimeField(db_default=Now())

    objects = JobFileQuerySet.as_manager()

    class Meta:
        verbose_name = "part of an exported file"
        verbose_name_plural = "parts of exported files"

    def __str__(self) -> str:
        return f"part {self.number}"


def find_job(namespace_id: int, job_id: UUID) -> Job | None:
    return Job.objects.filter(namespace_id=namespace_id, pk=job_id).first()
