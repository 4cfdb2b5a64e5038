"""Deletion of outdated memories: unimportant, rarely used, and not seen for 90 days (`MemoryQuerySet.outdated`)."""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from memories.models import Memory, MemoryQuerySet
from memory_site.core.db.retry import retry_on_deadlock

log = logging.getLogger(__name__)
OUTDATED_BATCH_SIZE = 1_000
IDS_PER_LOG_LINE = 50


def get_nightly_memories() -> MemoryQuerySet:
    """Return the memories of the namespaces in which outdated ones are deleted every night."""
    return Memory.objects.filter(namespace__forgets_outdated=True)


def forget_outdated(memories: MemoryQuerySet) -> int:
    """Delete the outdated ones among the memories, in batches by ascending id, and log their ids. Return their number.

    Safe to interrupt and run again.
    """
    outdated, total, last = memories.outdated(), 0, UUID(int=0)
    while keys := list(outdated.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:OUTDATED_BATCH_SIZE]):
        total += delete_batch(outdated, keys)
        last = keys[-1]
    return total


@retry_on_deadlock
def delete_batch(outdated: MemoryQuerySet, keys: Sequence[UUID]) -> int:
    # Checks the condition again under the lock: a memory may have been used since its id was selected.
    with transaction.atomic():
        locked = outdated.filter(pk__in=keys).order_by("pk").select_for_update(of=("self",))
        gone = list(locked.values_list("pk", "namespace_id"))
        Memory.objects.filter(pk__in=[pk for pk, _ in gone]).delete()
    log_deletion(gone)
    return len(gone)


def log_deletion(gone: Sequence[tuple[UUID, int]]) -> None:
    """Log what was deleted, by namespace: ids alone, because a log is no place for contents."""
    for namespace_id in sorted({namespace_id for _, namespace_id in gone}):
        ids = [str(pk) for pk, owner in gone if owner == namespace_id]
        for start in range(0, len(ids), IDS_PER_LOG_LINE):
            log.info("Forgot in namespace %d: %s", namespace_id, " ".join(ids[start : start + IDS_PER_LOG_LINE]))
