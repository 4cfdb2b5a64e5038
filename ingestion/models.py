"""Where memories come from: Documents, whose chunks are memories, and the Ingestions that brought them."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Now

from memory_site.ids import uuid7
from sessions_app.models import Namespace

#: A run that says nothing for so long has lost its worker.
SILENCE = timedelta(seconds=60)


def namespace() -> models.ForeignKey:
    return models.ForeignKey(Namespace, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")


class DocumentQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "DocumentQuerySet":
        return self.filter(namespace_id=namespace_id)


class Document(models.Model):
    """A text that was cut into chunks: a file of a repository, by its path, or what a caller posted. Its chunks are
    memories of type rag, and go with it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace()
    repo_id = models.CharField("repository", max_length=255, null=True, blank=True)
    path = models.TextField(null=True, blank=True)
    title = models.CharField(max_length=255, null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # SHA-256 of the bytes, so that an unchanged file costs one hash.
    digest = models.BinaryField()
    size = models.PositiveIntegerField(help_text="bytes")
    chunk_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    objects = DocumentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["namespace", "repo_id", "path"], name="document_is_one_file"),
            models.UniqueConstraint(
                fields=["namespace", "repo_id", "digest"],
                condition=Q(path=None),
                nulls_distinct=False,
                name="posted_document_is_kept_once",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="document_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="document_newest_of_all"),
        ]

    def __str__(self) -> str:
        return self.path or self.title or str(self.pk)


class Status(models.TextChoices):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class IngestionQuerySet(models.QuerySet):
    def in_namespace(self, namespace_id: int) -> "IngestionQuerySet":
        return self.filter(namespace_id=namespace_id)

    def open(self) -> "IngestionQuerySet":
        return self.filter(status__in=(Status.PENDING, Status.IN_PROGRESS))

    def due(self) -> "IngestionQuerySet":
        """Not begun, or begun by somebody who has gone silent."""
        return self.filter(
            Q(status=Status.PENDING) | Q(status=Status.IN_PROGRESS, heard_of_at__lt=Now() - SILENCE)
        ).order_by("created_at")


class Ingestion(models.Model):
    """One run over a repository. The row is the queue as well: what is open and silent is taken up again."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    namespace = namespace()
    repo_id = models.CharField("repository", max_length=255)
    path = models.TextField()
    suffixes = ArrayField(models.CharField(max_length=32), default=list)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    documents_total = models.PositiveIntegerField(null=True)
    documents_done = models.PositiveIntegerField(default=0)
    documents_changed = models.PositiveIntegerField(default=0)
    documents_deleted = models.PositiveIntegerField(default=0)
    chunks = models.PositiveIntegerField(default=0, help_text="Of the documents that changed.")
    skipped = models.JSONField(default=list, help_text="Files that were not taken, and why; the first hundred.")
    error = models.TextField(default="", blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    heard_of_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    duration_seconds = models.GeneratedField(
        expression=Func(
            F("finished_at"),
            F("started_at"),
            template="EXTRACT(EPOCH FROM %(expressions)s)::double precision",
            arg_joiner=" - ",
        ),
        output_field=models.FloatField(),
        db_persist=True,
    )

    #: Files that were not taken, told or not; known to whoever does the run.
    passed_over = 0

    objects = IngestionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="ingestion_status_is_known"),
            models.UniqueConstraint(
                fields=["namespace", "repo_id"],
                condition=Q(status__in=[Status.PENDING.value, Status.IN_PROGRESS.value]),
                name="one_ingestion_of_a_repository_at_a_time",
            ),
        ]
        indexes = [
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="ingestion_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="ingestion_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.repo_id}, {self.created_at:%Y-%m-%d %H:%M}"
