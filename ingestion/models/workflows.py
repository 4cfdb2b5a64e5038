"""Workflow executions."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memory_site.core.db.fields import duration_field
from memory_site.core.db.ids import uuid7
from memory_site.core.db.namespaced import NamespacedForeignKey, NamespacedModel
from sessions_app.models import namespace_key


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
            # For the console's list of all namespaces.
            models.Index(F("started_at").desc(), F("id").desc(), name="execution_started_of_all"),
            # For the foreign key's ON DELETE SET NULL.
            models.Index(F("namespace"), F("memory"), name="execution_memory", condition=Q(memory__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_id}, {self.started_at:%Y-%m-%d %H:%M}"
