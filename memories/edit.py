"""Change memories, and update the insights that depend on them."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from memories.insights.capture import lock_insights_for, sync_after_update
from memories.models import Memory, MemoryQuerySet


@transaction.atomic(savepoint=False)
def edit_memory(namespace_id: int, memories: MemoryQuerySet, **changes: Any) -> Memory | None:
    """Change fields of the one memory that `memories` selects. Return it, or None if there is none.

    Takes the lock of the namespace's insights before the row's, as every writer does: a fixed order prevents deadlocks.
    """
    lock_insights_for(namespace_id, changes.get("content"))
    memory = memories.select_for_update().first()
    if memory is not None:
        save_changes(memory, **changes)
    return memory


def save_changes(memory: Memory, **changes: Any) -> None:
    """Change fields of a memory that the caller's transaction has locked.

    A trigger queues new content for embedding. Until that is done, searches use the old vector.
    """
    for name, value in (changes | {"updated_at": timezone.now()}).items():
        setattr(memory, name, value)
    memory.save(update_fields=[*changes, "updated_at"])
    sync_after_update(memory, changes.keys())
