"""Adaptive forgetting: what nobody has used for long, of little importance and little used when it was."""

from uuid import UUID

from memories.models import MemoryQuerySet
from memory_site.core.db.retry import retry_on_deadlock

OUTDATED_BATCH_SIZE = 1_000


def forget_outdated(memories: MemoryQuerySet) -> int:
    """Delete those that are outdated, batch by batch in the order of their ids, so that each is looked at once; how
    many. Safe to stop and run again."""
    outdated, total, last = memories.outdated(), 0, UUID(int=0)
    while keys := list(outdated.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:OUTDATED_BATCH_SIZE]):
        total += delete_batch(outdated, keys)
        last = keys[-1]
    return total


@retry_on_deadlock
def delete_batch(outdated: MemoryQuerySet, keys: list[UUID]) -> int:
    # The condition is asked again: one of them may have been used meanwhile.
    return outdated.filter(pk__in=keys).delete()[0]
