"""Extract insights from stored texts, in the transaction that stores them, and update them when a memory changes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from django.db import transaction

from memories.insights.deduplication import TextFingerprint
from memories.insights.minhash import digest
from memories.insights.models import Insight
from memories.insights.parser import MARKER, parse_insights
from memories.insights.redaction import redact_project_name
from memories.insights.storage import (
    InsightDraft,
    InsightInput,
    build_insight,
    lock_namespace_insights,
    save_insights,
    upsert_from_memories,
)
from memories.memory_types import MemoryType
from memories.models import Memory, MemoryQuerySet
from memories.schemas import MemoryIn
from memories.storage import check_own_ids, insert_memories
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.errors import InvalidField
from sessions_app.models import Conversation

MAX_INSIGHTS_PER_REQUEST = 1_000

#: Memories that are stored already, by id.
StoredMemories = Sequence[tuple[UUID, MemoryIn]]


class AddedMemories(NamedTuple):
    """Ids of memories in the order given, the number of new ones, and ids of the insights extracted from them."""

    ids: list[UUID]
    created: int
    insights: list[UUID]


def may_contain_insights(memory: MemoryIn) -> bool:
    """Return whether the memory is an insight or its text may have one. Cheap: it runs for every added memory."""
    return MARKER in memory.content or memory.memory_type == MemoryType.INSIGHT


def lock_insights_for(namespace_id: int, content: str | None) -> None:
    """Lock the namespace's insights if this content may have some. Call it before a memory's row is locked."""
    if content is not None and MARKER in content:
        lock_namespace_insights(namespace_id)


@transaction.atomic
def insert_with_insights(namespace_id: int, memories: Sequence[MemoryIn], serving: str | None) -> AddedMemories:
    """Insert memories, insights among them as such, and the insights that are marked in the texts of the others.

    Takes the insight lock before any memory row is locked. Raises InvalidField when the texts have more than
    MAX_INSIGHTS_PER_REQUEST insights.
    """
    lock_namespace_insights(namespace_id)
    own_positions = [n for n, memory in enumerate(memories) if is_insight_memory(memory)]
    other_positions = [n for n, memory in enumerate(memories) if not is_insight_memory(memory)]
    others = [memories[n] for n in other_positions]
    other_ids, new_ids = insert_memories(namespace_id, others, serving) if others else ([], set())
    upserted = upsert_from_memories(
        namespace_id, [input_from_memory(memories[n]) for n in own_positions], serving, merge_exact=True
    )
    extracted = save_extracted(namespace_id, list(zip(other_ids, others, strict=True)))
    ids = dict(zip([*other_positions, *own_positions], [*other_ids, *(pk for pk, _ in upserted)], strict=True))
    check_own_ids(memories, in_order := [ids[n] for n in range(len(memories))])
    created = len(new_ids) + sum(is_new for _, is_new in upserted)
    return AddedMemories(in_order, created, extracted)


def save_extracted(namespace_id: int, stored: StoredMemories) -> list[UUID]:
    """Save the insights of one request's stored memories; return the ids of those extracted from texts."""
    insert_entity_insights(namespace_id, stored)
    drafts = list(extract_drafts(namespace_id, stored))
    if len(drafts) > MAX_INSIGHTS_PER_REQUEST:  # other writers of the namespace wait meanwhile
        raise InvalidField("memories", f"at most {MAX_INSIGHTS_PER_REQUEST:,} insights may be marked in one request")
    return list(dict.fromkeys(pk for pk, _ in save_insights(namespace_id, drafts)))


@transaction.atomic
def capture_from_stored(namespace_id: int, stored: StoredMemories) -> None:
    """Save the insights of memories that were inserted without `insert_with_insights`.

    An import calls it last, because no other transaction can write insights until this one ends.
    """
    backfill_insights(namespace_id)
    for start in range(0, len(stored), MAX_INSIGHTS_PER_REQUEST):
        save_insights(
            namespace_id, list(extract_drafts(namespace_id, stored[start : start + MAX_INSIGHTS_PER_REQUEST]))
        )


def is_insight_memory(memory: MemoryIn) -> bool:
    """Return whether the memory is an insight that is identified by its text, not by a key or as an entity."""
    return memory.memory_type == MemoryType.INSIGHT and memory.entity is None and memory.key is None


def input_from_memory(memory: MemoryIn) -> InsightInput:
    """Return a memory that is an insight, with the redacted name of its project, and its draft."""
    redacted = {"repo_id": redact_project_name(memory.repo_id)} if memory.repo_id else {}
    return InsightInput(memory.model_copy(update=redacted) if redacted else memory, draft_from_memory(memory))


def draft_from_memory(memory: MemoryIn | Memory) -> InsightDraft:
    """Return the draft of a memory that is an insight. A confidence of 1, the default of memories, counts as unset."""
    return InsightDraft(
        memory.content,
        projects=[memory.repo_id] if memory.repo_id else [],
        confidence=memory.confidence if memory.confidence < 1 else None,
    )


def extract_drafts(namespace_id: int, stored: StoredMemories) -> Iterator[InsightDraft]:
    """Yield the insights that are marked in memories that are no insights themselves."""
    parsed = [(pk, memory, parse_insights(memory.content)) for pk, memory in stored if is_extraction_source(memory)]
    conversations = resolve_conversations(namespace_id, [memory.metadata for _, memory, texts in parsed if texts])
    for pk, memory, texts in parsed:
        conversation_id = conversations.get(str(memory.metadata.get("conversation_id")))
        for text in texts:
            yield build_extracted_draft(text, pk, memory, conversation_id)


def is_extraction_source(memory: MemoryIn | Memory) -> bool:
    return memory.memory_type != MemoryType.INSIGHT


def build_extracted_draft(text: str, pk: UUID, memory: MemoryIn | Memory, conversation_id: UUID | None) -> InsightDraft:
    return InsightDraft(
        text,
        projects=[memory.repo_id] if memory.repo_id else [],
        source_memory_id=pk,
        conversation_id=conversation_id,
        created_at=memory.created_at,
        **{name: getattr(memory, name) for name in ("user_id", "agent_id", "session_id", "workflow_id")},
    )


def resolve_conversations(namespace_id: int, metadata: Sequence[Mapping[str, Any]]) -> dict[str, UUID]:
    """Return the namespace's conversations that `conversation_id` in metadata names, by the text that stands there.

    A remembered message sets it, but metadata is the client's own: a value that is no UUID is ignored.
    """
    named: dict[str, UUID] = {}
    for each in metadata:
        with suppress(ValueError):
            named[str(each.get("conversation_id"))] = UUID(str(each.get("conversation_id")))
    if not named:
        return {}
    rows = Conversation.objects.in_namespace(namespace_id).filter(pk__in=named.values())
    existing = set(rows.values_list("pk", flat=True))
    return {text: pk for text, pk in named.items() if pk in existing}


def insert_entity_insights(namespace_id: int, stored: StoredMemories) -> None:
    """Insert the insight rows of entities and memories with a key, which are never duplicates of each other's text."""
    rows = [
        build_insight(namespace_id, pk, memory, draft_from_memory(memory), fingerprint_entity(pk))
        for pk, memory in stored
        if memory.memory_type == MemoryType.INSIGHT
    ]
    if rows:
        Insight.objects.bulk_create(rows, ignore_conflicts=True)


def fingerprint_memory(memory: Memory) -> TextFingerprint:
    has_name = memory.entity_id is not None or memory.key is not None
    return fingerprint_entity(memory.pk) if has_name else TextFingerprint.of(memory.content)


def fingerprint_entity(pk: UUID) -> TextFingerprint:
    """Return a fingerprint that matches no text: a digest of the memory's id, and no bands."""
    return TextFingerprint("", digest(f"entity {pk}"), np.empty(0, np.uint64), [])


def sync_after_update(memory: Memory, changed: Collection[str]) -> None:
    """Update what depends on the changed fields: an insight's fingerprint follows its text, and insights marked in a
    new text are saved. A trigger deletes the insight row of a memory that is no insight any more."""
    if {"content", "memory_type", "key"}.isdisjoint(changed):
        return
    if memory.memory_type == MemoryType.INSIGHT:
        sync_insight_row(memory)
    if is_extraction_source(memory) and (texts := parse_insights(memory.content)):
        conversations = resolve_conversations(memory.namespace_id, [memory.metadata])
        conversation_id = conversations.get(str(memory.metadata.get("conversation_id")))
        drafts = [build_extracted_draft(text, memory.pk, memory, conversation_id) for text in texts]
        with transaction.atomic():
            save_insights(memory.namespace_id, drafts)


def sync_insight_row(memory: Memory) -> None:
    """Update the fingerprint of a memory's insight row, or insert the row."""
    text = fingerprint_memory(memory)
    rows = Insight.objects.filter(namespace_id=memory.namespace_id, pk=memory.pk)
    if not rows.update(digest=text.digest, bands=text.bands):
        build_insight(memory.namespace_id, memory.pk, memory, draft_from_memory(memory), text).save(force_insert=True)


def select_orphans() -> MemoryQuerySet:
    """Select the memories of type `insight` that lack the insight's row."""
    return Memory.objects.filter(memory_type=MemoryType.INSIGHT, insight=None)


def backfill_insights(namespace_id: int) -> int:
    """Insert the missing rows of memories of type `insight`, which come from imports or old releases; return how many.

    A memory that says the same as another insight gets none.
    """
    orphans = select_orphans().filter(namespace_id=namespace_id)
    rows = [
        build_insight(namespace_id, memory.pk, memory, draft_from_memory(memory), fingerprint_memory(memory))
        for memory in orphans.only("content", "repo_id", "confidence", "entity_id", "key").order_by("pk")
    ]
    if not rows:
        return 0
    with bounded_transaction():
        lock_namespace_insights(namespace_id)
        Insight.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
        return Insight.objects.filter(namespace_id=namespace_id, pk__in=[each.pk for each in rows]).count()
