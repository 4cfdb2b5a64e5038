"""Deletion of outdated memories: unimportant, rarely used, and not seen for 90 days (`MemoryQuerySet.outdated`)."""

import logging
from collections.abc import Sequence
from uuid import UUID

from memories.models import Memory, MemoryQuerySet
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock

log = logging.getLogger(__name__)
OUTDATED_BATCH_SIZE = 1_000
IDS_PER_LOG_LINE = 50


def forget_outdated(namespace_id: int) -> int:
    """Delete a namespace's outdated memories, in batches by ascending id, and log their ids. Return their number.

    Safe to interrupt and run again.
    """
    outdated, total, last = Memory.objects.in_namespace(namespace_id).outdated(), 0, UUID(int=0)
    while keys := list(outdated.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:OUTDATED_BATCH_SIZE]):
        total += delete_batch(namespace_id, outdated.filter(pk__in=keys))
        last = keys[-1]
    return total


@retry_on_deadlock
def delete_batch(namespace_id: int, outdated: MemoryQuerySet) -> int:
    # Checks the condition again under the lock: a memory may have been used since its id was selected.
    with bounded_transaction():
        locked = outdated.order_by("pk").select_for_update(of=("self",))
        keys = list(locked.values_list("pk", flat=True))
        Memory.objects.filter(namespace_id=namespace_id, pk__in=keys).delete()
    log_deletion(namespace_id, keys)
    return len(keys)


def log_deletion(namespace_id: int, keys: Sequence[UUID]) -> None:
    """Log what was deleted: ids alone, because a log is no place for contents."""
    for start in range(0, len(keys), IDS_PER_LOG_LINE):
        ids = " ".join(map(str, keys[start : start + IDS_PER_LOG_LINE]))
        log.info("Forgot in namespace %d: %s", namespace_id, ids)
