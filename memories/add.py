"""Add memories together with the insights marked in their content, and hide those that they replace, in one
transaction."""

from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.db import transaction

from memories.insights.capture import insert_with_insights, may_contain_insights
from memories.models import Memory
from memories.schemas import OUT_COLUMNS, MemoryIn
from memories.storage import insert_memories, insert_memory
from memories.supersede import list_replacements, supersede


def add_one(namespace_id: int, memory: MemoryIn, active_model: str | None = None) -> tuple[dict[str, Any], bool]:
    """Add one memory. Return its row (OUT_COLUMNS) and whether it is new.

    `active_model` is the namespace's embedding model, if known. If the content may contain insights, the row has
    `insights`: the ids of their memories.
    """
    if memory.replaces:
        return add_replacement(namespace_id, memory, active_model)
    if may_contain_insights(memory):
        return add_with_insights(namespace_id, memory, active_model)
    return insert_memory(namespace_id, memory, active_model)


@transaction.atomic
def add_replacement(namespace_id: int, memory: MemoryIn, active_model: str | None) -> tuple[dict[str, Any], bool]:
    """Add a memory that replaces others. Raises InvalidField and Conflict, as `supersede` does."""
    row, is_new = add_one(namespace_id, memory.model_copy(update={"replaces": []}), active_model)
    supersede(namespace_id, [(row["id"], memory.replaces)])
    return row, is_new


@transaction.atomic
def add_with_insights(namespace_id: int, memory: MemoryIn, active_model: str | None) -> tuple[dict[str, Any], bool]:
    added = insert_with_insights(namespace_id, [memory], active_model)
    row = Memory.objects.filter(namespace_id=namespace_id, pk=added.ids[0]).values(*OUT_COLUMNS).get()
    return row | {"insights": added.insights}, added.created == 1


def add_many(
    namespace_id: int, memories: Sequence[MemoryIn], active_model: str | None = None, document_id: UUID | None = None
) -> tuple[list[UUID], int]:
    """Add all or none. Return their ids in the order given, and how many are new. Raises as `add_one` does.

    Of several with one key the last is stored. With `document_id` the memories are chunks of that document: the same
    text in two files makes two chunks, and no insights are extracted.
    """
    memories, places = keep_last_of_keys(memories)
    with transaction.atomic() if any(memory.replaces for memory in memories) else nullcontext():
        ids, created = add_each(namespace_id, memories, active_model, document_id)
        supersede(namespace_id, list_replacements(memories, ids))
    return [ids[place] for place in places], created


def keep_last_of_keys(memories: Sequence[MemoryIn]) -> tuple[list[MemoryIn], list[int]]:
    """Return the memories without those that a later one with the same key replaces, and the place of each in them."""
    last = {name_memory(memory, number): memory for number, memory in enumerate(memories)}
    places = {name: place for place, name in enumerate(last)}
    return list(last.values()), [places[name_memory(memory, number)] for number, memory in enumerate(memories)]


def name_memory(memory: MemoryIn, number: int) -> Hashable:
    return number if memory.key is None else (memory.user_id, memory.key)


def add_each(
    namespace_id: int, memories: Sequence[MemoryIn], active_model: str | None, document_id: UUID | None
) -> tuple[list[UUID], int]:
    if document_id is None and any(map(may_contain_insights, memories)):
        added = insert_with_insights(namespace_id, memories, active_model)
        return added.ids, added.created
    ids, new = insert_memories(namespace_id, memories, active_model, document_id)
    return ids, len(new)
