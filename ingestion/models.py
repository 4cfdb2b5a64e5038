"""Sources of memories: documents, whose chunks are memories, the ingestions that read them, and workflow executions."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now

from ingestion.allowed_paths import is_within_roots
from memories.models import Memory
from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel
from sessions_app.models import namespace_key

#: A run without a heartbeat for this long has lost its worker.
WORKER_TIMEOUT = timedelta(seconds=60)


class DocumentQuerySet(models.QuerySet["Document"]):
    def in_namespace(self, namespace_id: int) -> "DocumentQuerySet":
        return self.filter(namespace_id=namespace_id)

    def with_chunks(self, namespace_id: int | None) -> "DocumentQuerySet":
        """Annotate `chunks`, the number of live chunks. Chunks are memories, which are also deleted on their own.
        `namespace_id` is the namespace that the documents were selected of, if it was one."""
        return self.annotate(chunks=count_live_chunks(namespace_id))

    def with_all_chunks(self, namespace_id: int) -> "DocumentQuerySet":
        """Select the documents of which no chunk was deleted. Of any other, a run reads the file again."""
        return self.alias(chunks=count_live_chunks(namespace_id)).filter(chunks=F("chunk_count"))


def count_live_chunks(namespace_id: int | None) -> Coalesce:
    namespace = OuterRef("namespace") if namespace_id is None else namespace_id
    memories = Memory.objects.alive().filter(namespace=namespace, document_id=OuterRef("pk"))
    chunks = memories.order_by().values("document_id")
    return Coalesce(Subquery(chunks.values(number=Count("pk"))), 0)


class Document(NamespacedModel):
    """A text that is stored in chunks: a file of a repository, identified by its path, or a text posted to the API.

    The chunks are memories of type rag; deleting the document deletes them.
    """

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    repo_id = models.CharField("repository", max_length=255, null=True, blank=True)
    path = models.TextField(null=True, blank=True)
    title = models.CharField(max_length=255, null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # SHA-256 of the bytes: an unchanged file is recognised by one hash.
    digest = models.BinaryField()
    size = models.PositiveIntegerField(help_text="bytes")
    # When it was stored; `with_chunks` counts those that are left.
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


class ExecutionStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


#: Final statuses: they never change again.
FINISHED_STATUSES = (ExecutionStatus.COMPLETED.value, ExecutionStatus.FAILED.value)


class WorkflowExecutionQuerySet(models.QuerySet["WorkflowExecution"]):
    def in_namespace(self, namespace_id: int) -> "WorkflowExecutionQuerySet":
        return self.filter(namespace_id=namespace_id)


class WorkflowExecution(NamespacedModel):
    """One run of a workflow, as reported by the system that ran it. `memory` is null once its memory is deleted."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow_id = models.CharField("workflow", max_length=255)
    adapter = models.CharField(max_length=255)
    agent_id = models.CharField("agent", max_length=255, null=True, blank=True)
    user_id = models.CharField("user", max_length=255, null=True, blank=True)
    repositories = ArrayField(models.CharField(max_length=255), default=list, blank=True)
    status = models.CharField(max_length=16, choices=ExecutionStatus, default=ExecutionStatus.COMPLETED)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = duration_field("started_at", "finished_at")
    # The foreign key is created in a migration: PostgreSQL sets it to null when the memory is deleted.
    memory = NamespacedForeignKey(
        "memories.Memory", models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False,
        related_name="+",
    )  # fmt: skip
    created_at = models.DateTimeField(db_default=Now())

    objects = WorkflowExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=ExecutionStatus.values), name="execution_status_is_known"),
            models.CheckConstraint(
                condition=Q(status__in=FINISHED_STATUSES, finished_at__isnull=False, finished_at__gte=F("started_at"))
                | Q(~Q(status__in=FINISHED_STATUSES), finished_at__isnull=True),
                name="execution_ends_when_it_is_over",
            ),
            models.CheckConstraint(condition=Q(repositories__len__lte=64), name="execution_repositories_are_bounded"),
        ]
        indexes = [
            models.Index(
                F("namespace"), F("workflow_id"), F("created_at").desc(), F("id").desc(), name="execution_of_workflow"
            ),
            models.Index(F("namespace"), F("created_at").desc(), F("id").desc(), name="execution_newest"),
            models.Index(F("created_at").desc(), F("id").desc(), name="execution_newest_of_all"),
            models.Index(F("namespace"), F("started_at"), name="execution_started"),
            # For the foreign key's ON DELETE SET NULL.
            models.Index(F("namespace"), F("memory"), name="execution_memory", condition=Q(memory__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_id}, {self.started_at:%Y-%m-%d %H:%M}"
