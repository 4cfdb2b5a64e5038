"""Deletion of outdated memories: unimportant, rarely used, and unused for 90 days (`MemoryQuerySet.outdated`)."""

from uuid import UUID

from memories.models import MemoryQuerySet
from memory_site.core.db.retry import retry_on_deadlock

OUTDATED_BATCH_SIZE = 1_000


def forget_outdated(memories: MemoryQuerySet) -> int:
    """Delete the outdated ones among the memories, in batches by ascending id. Return their number.

    Safe to interrupt and run again.
    """
    outdated, total, last = memories.outdated(), 0, UUID(int=0)
    while keys := list(outdated.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:OUTDATED_BATCH_SIZE]):
        total += delete_batch(outdated, keys)
        last = keys[-1]
    return total


@retry_on_deadlock
def delete_batch(outdated: MemoryQuerySet, keys: list[UUID]) -> int:
    # Checks the condition again: a memory may have been used since its id was selected.
    return outdated.filter(pk__in=keys).delete()[0]
