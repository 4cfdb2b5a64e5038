"""Delete versions and parts whose time is over, in batches."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from memories.history.models import DeletedPart, MemoryVersion
from memories.history.trash import get_trash_period
from memories.models import Memory
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock

DELETE_BATCH_SIZE = 1_000


def select_old_versions() -> QuerySet[MemoryVersion]:
    return MemoryVersion.objects.filter(changed_at__lt=Now() - timedelta(days=settings.HISTORY_RETENTION_DAYS))


def select_expired() -> QuerySet[MemoryVersion]:
    """Return the deletions of memories that would have expired since."""
    return MemoryVersion.objects.filter(expires_at__lte=Now())


def select_old_parts() -> QuerySet[DeletedPart]:
    return DeletedPart.objects.filter(deleted_at__lt=Now() - get_trash_period())


def delete_old_history(namespace_id: int) -> int:
    """Delete a namespace's old versions and parts, and all that is kept of memories that expired in the trash. Return
    how many rows."""
    return sum(delete_batches(namespace_id))


def delete_batches(namespace_id: int) -> Iterator[int]:
    for rows in (select_old_versions(), select_old_parts()):
        while deleted := delete_batch(rows.filter(namespace=namespace_id)):
            yield deleted
    while deleted := delete_expired_batch(namespace_id):
        yield deleted


@retry_on_deadlock
def delete_batch(rows: QuerySet) -> int:
    with bounded_transaction():
        keys = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:DELETE_BATCH_SIZE])
        return rows.filter(pk__in=keys).delete()[0] if keys else 0


@retry_on_deadlock
def delete_expired_batch(namespace_id: int) -> int:
    """Delete all that is kept of memories that expired in the trash. Of one that came back, only that deletion."""
    versions = MemoryVersion.objects.filter(namespace=namespace_id)
    with bounded_transaction():
        expired = select_expired().filter(namespace=namespace_id).select_for_update(skip_locked=True)
        found = list(expired.values_list("pk", "memory_id")[:DELETE_BATCH_SIZE])
        gone = find_missing(namespace_id, {memory_id for _, memory_id in found})
        of_gone = Q(memory_id__in=gone)
        DeletedPart.objects.filter(of_gone | Q(other_memory_id__in=gone), namespace=namespace_id).delete()
        return versions.filter(of_gone | Q(pk__in=[pk for pk, _ in found])).delete()[0] if found else 0


def find_missing(namespace_id: int, ids: set) -> list:
    return list(ids - set(Memory.objects.filter(namespace=namespace_id, pk__in=ids).values_list("pk", flat=True)))
