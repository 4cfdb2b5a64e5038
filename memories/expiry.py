"""Expired memories are invisible, but occupy unique keys until the clean-up deletes them."""

from memories.models import Memory, MemoryQuerySet
from memories.storage import purge_expired
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.auth import ApiRequest

DELETE_BATCH_SIZE = 1_000


def purge_expired_memories(request: ApiRequest) -> bool:
    """Delete the expired memories of the caller's namespace. Return whether there were any: with them gone, a write
    that a constraint refused may succeed (`write_operation(on_conflict=purge_expired_memories)`)."""
    return purge_expired(request.auth.namespace_id)


def delete_expired_memories(namespace_id: int) -> int:
    """Delete the expired memories of a namespace in batches. Return how many."""
    total, expired = 0, Memory.objects.filter(namespace_id=namespace_id).expired()
    while deleted := delete_batch(expired):
        total += deleted
    return total


@retry_on_deadlock
def delete_batch(expired: MemoryQuerySet) -> int:
    # The outer condition checks again after the row is locked: its expiry may have been extended meanwhile.
    with bounded_transaction():
        return expired.filter(pk__in=expired.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]
