"""Change memories, and update the insights that depend on them."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from memories.insights.capture import lock_insights_for, sync_after_update
from memories.models import Memory, MemoryQuerySet
from memories.schemas import KEY_OF_ENTITY
from memory_site.core.errors import InvalidField


@transaction.atomic(savepoint=False)
def edit_memory(
    namespace_id: int, memories: MemoryQuerySet, check: Callable[[int], None] | None = None, **changes: Any
) -> Memory | None:
    """Change fields of the one memory that `memories` selects. Return it, or None if there is none.

    `check` gets its revision before, and may raise.
    Takes the lock of the namespace's insights before the row's, as every writer does: a fixed order prevents deadlocks.
    """
    lock_insights_for(namespace_id, changes.get("content"))
    memory = memories.select_for_update().first()
    if memory is not None:
        if check is not None:
            check(memory.revision)
        check_identity(memory, changes)
        save_changes(memory, **changes)
    return memory


def check_identity(memory: Memory, changes: Mapping[str, Any]) -> None:
    """Raise InvalidField if the memory would have a key and describe an entity."""
    if all(changes.get(name, getattr(memory, name)) is not None for name in ("key", "entity_id")):
        raise InvalidField("key" if changes.get("key") is not None else "entity", KEY_OF_ENTITY)


def save_changes(memory: Memory, **changes: Any) -> None:
    """Change fields of a memory that the caller's transaction has locked.

    A trigger queues new content for embedding. Until that is done, searches use the old vector.
    """
    for name, value in (changes | {"updated_at": timezone.now()}).items():
        setattr(memory, name, value)
    memory.save(update_fields=[*changes, "updated_at"])
    sync_after_update(memory, changes.keys())
