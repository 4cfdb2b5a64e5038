"""Ingestions: the runs that read documents."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from ingestion.allowed_paths import is_within_roots
from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key

#: A run without a heartbeat for this long has lost its worker.
WORKER_TIMEOUT = timedelta(seconds=60)


class IngestionStatus(models.TextChoices):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class IngestionQuerySet(models.QuerySet["Ingestion"]):
    def in_namespace(self, namespace_id: int) -> "IngestionQuerySet":
        return self.filter(namespace_id=namespace_id)

    def open(self) -> "IngestionQuerySet":
        return self.filter(status__in=(IngestionStatus.PENDING, IngestionStatus.IN_PROGRESS))

    def due(self) -> "IngestionQuerySet":
        """Filter to runs that no worker has started, or whose worker is silent; oldest first."""
        return self.filter(
            Q(status=IngestionStatus.PENDING)
            | Q(status=IngestionStatus.IN_PROGRESS, last_heartbeat_at__lt=Now() - WORKER_TIMEOUT)
        ).order_by("created_at")


class Ingestion(NamespacedModel):
    """One run over a repository. The row is also the queue entry: an open run without a heartbeat is restarted."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    repo_id = models.CharField("repository", max_length=255)
    path = models.TextField()
    # False for runs of the command line, which may read any folder.
    within_roots = models.BooleanField(default=True, help_text="Only while its folder lies inside INGESTION_ROOTS.")
    suffixes = ArrayField(models.CharField(max_length=32), default=list)
    exclude = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    status = models.CharField(max_length=16, choices=IngestionStatus, default=IngestionStatus.PENDING)
    documents_total = models.PositiveIntegerField(null=True)
    documents_done = models.PositiveIntegerField(default=0)
    documents_changed = models.PositiveIntegerField(default=0)
    documents_deleted = models.PositiveIntegerField(default=0)
    chunks = models.PositiveIntegerField(default=0, help_text="Of the documents that changed.")
    documents_skipped = models.PositiveIntegerField(default=0)
    skipped = models.JSONField(default=list, help_text="Files that were not taken, and why; the first hundred.")
    error = models.TextField(default="", blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    last_heartbeat_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    duration_seconds = duration_field("started_at", "finished_at")

    objects = IngestionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=IngestionStatus.values), name="ingestion_status_is_known"),
            models.UniqueConstraint(
                fields=["namespace", "repo_id"],
                condition=Q(status__in=[IngestionStatus.PENDING.value, IngestionStatus.IN_PROGRESS.value]),
                name="one_ingestion_of_a_repository_at_a_time",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="ingestion_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="ingestion_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.repo_id}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_allowed(self) -> bool:
        """Return whether the folder may still be read: INGESTION_ROOTS may have changed since the request."""
        return not self.within_roots or is_within_roots(self.path)
