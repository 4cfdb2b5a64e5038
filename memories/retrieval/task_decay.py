"""Halve the relevance of memories that served a finished task."""

from typing import Any

from django.db import transaction
from django.db.models import F

from memories.memory_types import MemoryType
from memories.models import Memory
from memories.retrieval.relevance import MIN_RELEVANCE

MAX_AGE_HOURS = 24 * 366 * 200
#: The types that are of little use outside the task.
TASK_MEMORY_TYPES = (MemoryType.USER_SELECTION, MemoryType.SEARCH_RESULT, MemoryType.TEMPORARY_STATE)
TASK_DECAY_FACTOR = 0.5


def finish_task(namespace_id: int, user_id: str, session_id: str | None, workflow_id: str | None) -> int:
    """Halve the base relevance of a task's memories, unless it is below the minimum already. Return how many.

    The rows are locked in the order of their ids, so that concurrent calls do not deadlock. One statement.
    """
    task: dict[str, Any] = {"session_id": session_id, "workflow_id": workflow_id}
    served = Memory.objects.in_namespace(namespace_id).filter(
        user_id=user_id,
        memory_type__in=TASK_MEMORY_TYPES,
        base_relevance__gt=MIN_RELEVANCE,
        **{name: value for name, value in task.items() if value is not None},
    )
    with transaction.atomic(savepoint=False):
        locked = served.order_by("pk").select_for_update(no_key=True).values("pk")
        tasks_own = Memory.objects.filter(namespace_id=namespace_id, pk__in=locked)
        return tasks_own.update(base_relevance=F("base_relevance") * TASK_DECAY_FACTOR)
