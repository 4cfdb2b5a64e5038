"""Clones of namespaces that the console asked for."""

from django.db import models
from django.db.models.functions import Now

from memory_site.core.db.ids import uuid7


class CloneState(models.TextChoices):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class NamespaceClone(models.Model):
    """One clone, made by a worker in one transaction. It has names and no references: the row outlives both."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source_id = models.BigIntegerField(help_text="The id of the namespace that is cloned.")
    source_name = models.CharField(max_length=255)
    name = models.CharField(max_length=255, help_text="Of the clone.")
    requested_by = models.CharField(max_length=255, default="")
    state = models.CharField(max_length=16, choices=CloneState, default=CloneState.RUNNING)
    rows_total = models.PositiveBigIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    error = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.name}, a clone of {self.source_name}"


class Desk(NamespaceClone):
    """Only the address of the console's page of operations tasks, which has no rows of its own."""

    class Meta:
        proxy = True
        default_permissions = ()
