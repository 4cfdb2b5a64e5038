"""Taking insights out of what is stored, in the transaction that stores it; and following what becomes of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple
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
    build_insight,
    lock_namespace_insights,
    save_insights,
    upsert_from_memories,
)
from memories.models import Memory
from memories.schemas import MemoryIn
from memories.storage import insert_memories
from memories.types import MemoryType
from memory_site.core.errors import InvalidField
from sessions_app.models import Conversation

MAX_INSIGHTS_PER_REQUEST = 1_000


class AddedMemories(NamedTuple):
    """Ids of memories in the order given, how many of them are new, and the insights that were found in them."""

    ids: list[UUID]
    created: int
    insights: list[UUID]


def may_contain_insights(memory: MemoryIn) -> bool:
    """Return whether it is an insight, or one may stand in it. Cheap, because every memory is asked."""
    return MARKER in memory.content or memory.memory_type == MemoryType.INSIGHT


def lock_insights_for(namespace_id: int, content: str | None) -> None:
    """Lock the namespace's insights if this content may hold some. Call it before a memory's row is locked."""
    if content is not None and MARKER in content:
        lock_namespace_insights(namespace_id)


@transaction.atomic
def insert_with_insights(namespace_id: int, memories: Sequence[MemoryIn], serving: str | None) -> AddedMemories:
    """Keep memories, those that are insights as such, and what is marked as an insight in the others. Insights are held
    first: before any memory is."""
    lock_namespace_insights(namespace_id)
    mine = [n for n, memory in enumerate(memories) if is_insight_memory(memory)]
    rest = [n for n, memory in enumerate(memories) if not is_insight_memory(memory)]
    plain, new = insert_memories(namespace_id, [memories[n] for n in rest], serving) if rest else ([], set())
    kept = upsert_from_memories(
        namespace_id,
        [(redact_repository(memories[n]), draft_from_memory(memories[n])) for n in mine],
        serving,
        merging=True,
    )
    stored = [(pk, memories[n]) for n, pk in zip(rest, plain, strict=True)]
    insert_entity_insights(namespace_id, stored)
    drafts = list(extract_drafts(namespace_id, stored))
    if len(drafts) > MAX_INSIGHTS_PER_REQUEST:  # others wait meanwhile
        raise InvalidField("memories", f"at most {MAX_INSIGHTS_PER_REQUEST:,} insights may be marked in one request")
    found = save_insights(namespace_id, drafts)
    ids = dict(zip([*rest, *mine], [*plain, *(pk for pk, _ in kept)], strict=True))
    created = len(new) + sum(is_new for _, is_new in kept)
    return AddedMemories([ids[n] for n in range(len(memories))], created, list(dict.fromkeys(pk for pk, _ in found)))


@transaction.atomic
def capture_from_stored(namespace_id: int, stored: Sequence[tuple[UUID, MemoryIn]]) -> None:
    """The same of memories that were added as they are. Whoever imports does it last, since nobody else keeps an
    insight until his transaction ends."""
    backfill_insights(namespace_id)
    for start in range(0, len(stored), MAX_INSIGHTS_PER_REQUEST):
        save_insights(
            namespace_id, list(extract_drafts(namespace_id, stored[start : start + MAX_INSIGHTS_PER_REQUEST]))
        )


def is_insight_memory(memory: MemoryIn) -> bool:
    return memory.memory_type == MemoryType.INSIGHT and memory.entity is None


def redact_repository(memory: MemoryIn) -> MemoryIn:
    """With the project's name that may be shown."""
    return memory.model_copy(update={"repo_id": redact_project_name(memory.repo_id)}) if memory.repo_id else memory


def draft_from_memory(memory: MemoryIn) -> InsightDraft:
    """What a memory that is an insight says as such; 1, the confidence of all that say none, says nothing."""
    said = memory.confidence if memory.confidence < 1 else None
    return InsightDraft(memory.content, projects=[memory.repo_id] if memory.repo_id else [], confidence=said)


def extract_drafts(namespace_id: int, stored: Sequence[tuple[UUID, MemoryIn]]) -> Iterator[InsightDraft]:
    """What is marked in memories that are none themselves."""
    found = [(pk, memory, parse_insights(memory.content)) for pk, memory in stored if is_extraction_source(memory)]
    talks = resolve_conversations(namespace_id, [memory.metadata for _, memory, texts in found if texts])
    for pk, memory, texts in found:
        talk = talks.get(str(memory.metadata.get("conversation_id")))
        for text in texts:
            yield build_extracted_draft(text, pk, memory, talk)


def is_extraction_source(memory: MemoryIn | Memory) -> bool:
    return memory.memory_type != MemoryType.INSIGHT


def build_extracted_draft(text: str, pk: UUID, memory: MemoryIn | Memory, conversation: UUID | None) -> InsightDraft:
    return InsightDraft(
        text,
        projects=[memory.repo_id] if memory.repo_id else [],
        source_memory_id=pk,
        conversation_id=conversation,
        created_at=memory.created_at,
        **{name: getattr(memory, name) for name in ("user_id", "agent_id", "session_id", "workflow_id")},
    )


def resolve_conversations(namespace_id: int, metadata: Sequence[Mapping]) -> dict[str, UUID]:
    """The namespace's conversations that metadata name, as a remembered message does; anything may stand there."""
    named: dict[str, UUID] = {}
    for each in metadata:
        with suppress(ValueError):
            named[str(each.get("conversation_id"))] = UUID(str(each.get("conversation_id")))
    if not named:
        return {}
    talks = Conversation.objects.in_namespace(namespace_id).filter(pk__in=named.values())
    there = set(talks.values_list("pk", flat=True))
    return {text: pk for text, pk in named.items() if pk in there}


def insert_entity_insights(namespace_id: int, stored: Sequence[tuple[UUID, MemoryIn]]) -> None:
    """An entity is told apart by its id and not by its text, as an insight too."""
    rows = [
        build_insight(namespace_id, pk, memory, draft_from_memory(memory), fingerprint_entity(pk))
        for pk, memory in stored
        if memory.memory_type == MemoryType.INSIGHT
    ]
    if rows:
        Insight.objects.bulk_create(rows, ignore_conflicts=True)


def fingerprint_memory(memory: Memory) -> TextFingerprint:
    return TextFingerprint.of(memory.content) if memory.entity_id is None else fingerprint_entity(memory.pk)


def fingerprint_entity(pk: UUID) -> TextFingerprint:
    return TextFingerprint(digest(f"entity {pk}"), np.empty(0, np.uint64), [])


def sync_after_update(memory: Memory, changed: Collection[str]) -> None:
    """Update what depends on the fields that were changed: an insight's fingerprint follows its text, a memory that is
    no insight any more loses its row, and insights marked in a new text are saved."""
    if {"content", "memory_type"}.isdisjoint(changed):
        return
    if memory.memory_type == MemoryType.INSIGHT:
        sync_insight_row(memory)
    elif "memory_type" in changed:
        Insight.objects.filter(pk=memory.pk).delete()
    if is_extraction_source(memory) and (texts := parse_insights(memory.content)):
        talks = resolve_conversations(memory.namespace_id, [memory.metadata])
        talk = talks.get(str(memory.metadata.get("conversation_id")))
        with transaction.atomic():
            save_insights(memory.namespace_id, [build_extracted_draft(text, memory.pk, memory, talk) for text in texts])


def sync_insight_row(memory: Memory) -> None:
    text = fingerprint_memory(memory)
    if not Insight.objects.filter(pk=memory.pk).update(digest=text.digest, bands=text.bands):
        build_insight(memory.namespace_id, memory.pk, memory, draft_from_memory(memory), text).save(force_insert=True)


def backfill_insights(namespace_id: int) -> int:
    """Give a row to insights that came as mere memories, by an import or from before there were rows; how many. One
    that says the same as another insight stays a memory."""
    orphans = Memory.objects.filter(namespace_id=namespace_id, memory_type=MemoryType.INSIGHT, insight=None)
    rows = [
        build_insight(namespace_id, memory.pk, memory, draft_from_memory(memory), fingerprint_memory(memory))
        for memory in orphans.only("content", "repo_id", "confidence", "entity_id").order_by("pk")
    ]
    if not rows:
        return 0
    with transaction.atomic():
        lock_namespace_insights(namespace_id)
        Insight.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)
        return Insight.objects.filter(pk__in=[each.pk for each in rows]).count()
