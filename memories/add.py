"""Add memories together with the insights marked in their content, in one transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from memories.insights.capture import insert_with_insights, may_contain_insights
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, MemoryIn
from memories.storage import insert_memories, insert_memory


def add_one(namespace_id: int, memory: MemoryIn, active_model: str | None = None) -> tuple[dict[str, Any], bool]:
    """Add one memory. Return its row (OUT_COLUMNS) and whether it is new.

    `active_model` is the namespace's embedding model, if known. If the content may contain insights, the row has
    `insights`: the ids of their memories.
    """
    if may_contain_insights(memory):
        return add_with_insights(namespace_id, memory, active_model)
    return insert_memory(namespace_id, memory, active_model)


@transaction.atomic
def add_with_insights(namespace_id: int, memory: MemoryIn, active_model: str | None) -> tuple[dict[str, Any], bool]:
    added = insert_with_insights(namespace_id, [memory], active_model)
    row = Memory.objects.filter(namespace_id=namespace_id, pk=added.ids[0]).values(*OUT_COLUMNS).get()
    return row | {"insights": added.insights}, added.created == 1


def add_many(
    namespace_id: int, memories: Sequence[MemoryIn], active_model: str | None = None, document_id: UUID | None = None
) -> tuple[list[UUID], int]:
    """Add all or none. Return their ids in the order given, and how many are new.

    With `document_id` the memories are chunks of that document: the same text in two files makes two chunks, and no
    insights are extracted.
    """
    if document_id is None and any(map(may_contain_insights, memories)):
        added = insert_with_insights(namespace_id, memories, active_model)
        return added.ids, added.created
    ids, new = insert_memories(namespace_id, memories, active_model, document_id)
    return ids, len(new)
