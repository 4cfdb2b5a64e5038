"""Add memories, and the insights that are marked in them: all or nothing."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from memories.insights.capture import insert_with_insights, may_contain_insights
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, MemoryIn
from memories.storage import insert_memories, insert_memory


def add_one(namespace_id: int, memory: MemoryIn, serving: str | None = None) -> tuple[dict[str, Any], bool]:
    """Add one memory: its row (OUT_COLUMNS), and whether it is new.

    `serving` is the namespace's model, where it is known. The row has `insights`, the ids of those found in the
    content, if there may be some.
    """
    if may_contain_insights(memory):
        return add_with_insights(namespace_id, memory, serving)
    return insert_memory(namespace_id, memory, serving)


@transaction.atomic
def add_with_insights(namespace_id: int, memory: MemoryIn, serving: str | None) -> tuple[dict[str, Any], bool]:
    added = insert_with_insights(namespace_id, [memory], serving)
    row = Memory.objects.filter(pk=added.ids[0]).values(*OUT_COLUMNS).get()
    return row | {"insights": added.insights}, added.created == 1


def add_many(
    namespace_id: int, memories: Sequence[MemoryIn], serving: str | None = None, document_id: UUID | None = None
) -> tuple[list[UUID], int]:
    """Add all or none: their ids in the order given, and how many are new.

    Chunks of a document stand apart from all other memories: the same text in two files is two chunks, and no insights
    are extracted from them.
    """
    if document_id is None and any(map(may_contain_insights, memories)):
        added = insert_with_insights(namespace_id, memories, serving)
        return added.ids, added.created
    ids, new = insert_memories(namespace_id, memories, serving, document_id)
    return ids, len(new)
