"""What stood in a memory before each change, what was deleted, and what a deleted memory took with it.

Triggers insert all rows (memories/history/trigger_sql.py).
"""

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memory_site.core.db.namespaced import NamespacedModel
from sessions_app.models import namespace_key


class Operation(models.TextChoices):
    UPDATE = "update", "changed"
    DELETE = "delete", "deleted"


class MemoryVersion(NamespacedModel):
    """A memory as it was before a change or a deletion, with who did that, when, and in which request and job."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    # The memory may be gone, so this is no foreign key.
    memory_id = models.UUIDField()
    user_id = models.CharField("user", max_length=255, null=True)
    operation = models.CharField(max_length=6, choices=Operation)
    # The columns of KEPT_COLUMNS: neither vectors nor counters.
    row = models.JSONField()
    # When the deleted memory would have expired: then nothing is left of it.
    expires_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.TextField()
    request_id = models.TextField(db_default="")
    job_id = models.UUIDField(null=True)

    class Meta:
        verbose_name, verbose_name_plural = "change", "changes"
        indexes = [
            models.Index(F("namespace"), F("memory_id"), F("changed_at"), name="version_of_memory"),
            models.Index(F("namespace"), F("changed_at"), F("id"), name="version_newest"),
            models.Index(F("changed_at"), F("id"), name="version_newest_of_all"),
            models.Index(F("namespace"), F("user_id"), name="version_of_user", condition=Q(user_id__isnull=False)),
            models.Index(
                F("namespace"), F("job_id"), F("memory_id"), name="version_of_job", condition=Q(job_id__isnull=False)
            ),
            models.Index(
                F("namespace"), F("expires_at"), name="version_expiring", condition=Q(expires_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        content = " ".join(str(self.row.get("content", "")).split())
        return content if len(content) <= 80 else f"{content[:79]}…"


class TrashedMemory(MemoryVersion):
    """A deletion that can be taken back (memories/history/trash.py), as the console lists it."""

    class Meta:
        proxy = True
        verbose_name, verbose_name_plural = "deleted memory", "deleted memories"


class DeletedPart(NamespacedModel):
    """A row that was deleted together with a memory, or lost its reference to it, for the memory's return."""

    namespace = namespace_key()
    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    memory_id = models.UUIDField()
    # The other end of a relationship.
    other_memory_id = models.UUIDField(null=True)
    user_id = models.CharField("user", max_length=255, null=True)
    # A name of memories/history/parts.py.
    kind = models.CharField(max_length=32)
    row = models.JSONField()
    deleted_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(F("namespace"), F("memory_id"), name="part_of_memory"),
            models.Index(
                F("namespace"),
                F("other_memory_id"),
                name="part_of_other_memory",
                condition=Q(other_memory_id__isnull=False),
            ),
            models.Index(F("namespace"), F("user_id"), name="part_of_user", condition=Q(user_id__isnull=False)),
            models.Index(F("namespace"), F("deleted_at"), name="part_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.memory_id}"
