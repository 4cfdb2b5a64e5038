"""The one way in which insights are kept: each once in its namespace, with all the projects that came by it.

Whoever keeps one holds the namespace's insights until his transaction ends, so that of twenty who tell the same one
keeps it and the others find it. He does so before he touches any memory: then nobody waits for a memory that somebody
holds who waits for him.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from pydantic_core import to_json

from memories.insights.deduplication import Duplicate, NewTextIndex, TextFingerprint, find_duplicates
from memories.insights.models import Insight, InsightCollection
from memories.insights.redaction import redact_project_name
from memories.insights.scoring import score_insight
from memories.schemas import MemoryIn
from memories.storage import insert_memories
from memories.types import MemoryType
from memory_site.core.db.locks import advisory_xact_lock

MAX_PROJECTS_PER_INSIGHT, MAX_TOPICS_PER_INSIGHT, MAX_TAGS_PER_INSIGHT = 64, 32, 256
#: What adds up when it is told again, and of what the greater stays.
ACCUMULATED_FIELDS, GREATEST_FIELDS = ("projects", "topics", "tags"), ("confidence", "quality")
# A request that waits occupies one of the web server's few threads: after this time the client is asked to come again.
MAX_LOCK_WAIT_SECONDS = 2


# What is not said again stays. Memories before insights, as when a memory is deleted, and in the order of their ids.
def build_new_elements_sql(row: str, column: str) -> str:
    """What was told and is not known, in the order in which it was told."""
    return f"""ARRAY(
        SELECT name FROM unnest(told.{column}) WITH ORDINALITY AS said (name, place)
        WHERE name <> ALL ({row}.{column}) ORDER BY place
    )"""


MERGE_MEMORIES_SQL = f"""
UPDATE memories_memory memory
SET confidence = greatest(memory.confidence, told.confidence), metadata = memory.metadata || told.metadata,
    expires_at = CASE WHEN memory.expires_at IS NULL OR told.expires_at IS NULL THEN NULL
                 ELSE greatest(memory.expires_at, told.expires_at) END,
    tags = (memory.tags || {build_new_elements_sql("memory", "tags")})[:{MAX_TAGS_PER_INSIGHT}]
FROM (
    SELECT id, told.* FROM memories_memory known
    JOIN jsonb_to_recordset(%s::jsonb) AS told(
        memory_id uuid, confidence float8, tags varchar[], metadata jsonb, expires_at timestamptz
    ) ON told.memory_id = id
    WHERE told.confidence > known.confidence OR NOT known.tags @> told.tags OR NOT known.metadata @> told.metadata
       OR known.expires_at < coalesce(told.expires_at, 'infinity')
    ORDER BY id FOR NO KEY UPDATE OF known
) told
WHERE memory.id = told.id
"""
MERGE_INSIGHTS_SQL = f"""
UPDATE insights_insight insight
SET quality = greatest(insight.quality, told.quality),
    projects = (insight.projects || {build_new_elements_sql("insight", "projects")})[:{MAX_PROJECTS_PER_INSIGHT}],
    topics = (insight.topics || {build_new_elements_sql("insight", "topics")})[:{MAX_TOPICS_PER_INSIGHT}]
FROM jsonb_to_recordset(%s::jsonb) AS told(memory_id uuid, projects varchar[], topics varchar[], quality float8)
WHERE insight.memory_id = told.memory_id
    AND NOT (insight.projects @> told.projects AND insight.topics @> told.topics
             AND insight.quality >= coalesce(told.quality, 0))
"""


@dataclass(frozen=True, slots=True)
class InsightDraft:
    """An insight to keep. What is None is judged by the rules of judge.py; projects are given by their true names."""

    content: str
    collection: str = InsightCollection.PROJECT
    insight_type: str | None = None
    topics: Sequence[str] | None = None
    projects: Sequence[str] = ()
    confidence: float | None = None
    quality: float | None = None
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    workflow_id: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source_memory_id: UUID | None = None
    conversation_id: UUID | None = None
    created_at: datetime | None = None
    usage_count: int = 0
    last_used_at: datetime | None = None
    source_system: str = "insights"

    @property
    def redacted_projects(self) -> list[str]:
        return list(dict.fromkeys(map(redact_project_name, self.projects)))[:MAX_PROJECTS_PER_INSIGHT]

    def memory(self) -> MemoryIn:
        """Raises ValidationError for what no memory can hold."""
        projects = self.redacted_projects
        return MemoryIn(
            content=self.content,
            memory_type=MemoryType.INSIGHT,
            source_system=self.source_system,
            repo_id=projects[0] if len(projects) == 1 else None,
            confidence=score_insight(self.content).confidence if self.confidence is None else self.confidence,
            tags=list(self.tags),
            metadata=dict(self.metadata),
            created_at=self.created_at,
            **{name: getattr(self, name) for name in ("user_id", "agent_id", "session_id", "workflow_id")},
        )


InsightInput = tuple[MemoryIn, InsightDraft]


def save_insights(namespace_id: int, insights: Sequence[InsightDraft]) -> list[tuple[UUID, bool]]:
    """Of each the memory's id and whether it is new, in the order given; the same again, or nearly the same, is the one
    that is there. Inside the caller's transaction, which should end soon: nobody else keeps an insight of the namespace
    meanwhile. Raises ValidationError for what no memory can hold."""
    return upsert_from_memories(namespace_id, [(each.memory(), each) for each in insights])


def upsert_from_memories(
    namespace_id: int, told: Sequence[InsightInput], serving: str | None = None, *, merging: bool = False
) -> list[tuple[UUID, bool]]:
    """The same of memories that say more than a draft does. `merging`: the very same text of the same user is told
    again as a memory, whose tags and metadata are merged."""
    if not told:
        return []
    texts = [TextFingerprint.of(memory.content) for memory, _ in told]
    lock_namespace_insights(namespace_id)
    known, different = find_duplicates(namespace_id, texts), NewTextIndex()
    places = [None if twin else different.place(text) for text, twin in zip(texts, known, strict=True)]
    first: dict[int | None, int] = {}  # of each text that is new the first of those that tell it
    for n, place in enumerate(places):
        first.setdefault(place, n)
    first.pop(None, None)
    ids, new = insert_insights(namespace_id, [told[n] for n in first.values()], different.texts, serving)
    found = [twin.memory_id if twin else ids[place] for twin, place in zip(known, places, strict=True)]
    if merging and (
        same := [each for each, twin in zip(told, known, strict=True) if twin and is_exact_duplicate(each[0], twin)]
    ):
        insert_memories(namespace_id, [memory for memory, _ in same], serving)
    firsts = set(first.values())
    merge_insights([(found[n], *each) for n, each in enumerate(told) if n not in firsts])
    return [(pk, n in firsts and pk in new) for n, pk in enumerate(found)]


def lock_namespace_insights(namespace_id: int) -> None:
    """Let one transaction at a time write insights of the namespace."""
    advisory_xact_lock(f"insights {namespace_id}", MAX_LOCK_WAIT_SECONDS)


def is_exact_duplicate(memory: MemoryIn, twin: Duplicate) -> bool:
    return (memory.content, memory.user_id) == (twin.content, twin.user_id)


def insert_insights(
    namespace_id: int, told: Sequence[InsightInput], texts: Sequence[TextFingerprint], serving: str | None
) -> tuple[list[UUID], set[UUID]]:
    """Their memories' ids, and which of these are new: a memory may have been there without an insight's row."""
    if not told:
        return [], set()
    ids, new = insert_memories(namespace_id, [memory for memory, _ in told], serving)
    rows = [build_insight(namespace_id, pk, *each, text) for pk, each, text in zip(ids, told, texts, strict=True)]
    Insight.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["memory"], update_fields=["digest", "bands"], batch_size=500
    )
    return ids, new


def build_insight(namespace_id: int, pk: UUID, memory: MemoryIn, draft: InsightDraft, text: TextFingerprint) -> Insight:
    """What is not said is judged."""
    own = score_insight(memory.content)
    return Insight(
        memory_id=pk,
        namespace_id=namespace_id,
        collection=draft.collection,
        insight_type=draft.insight_type or own.insight_type,
        topics=list(own.topics if draft.topics is None else dict.fromkeys(draft.topics))[:MAX_TOPICS_PER_INSIGHT],
        projects=draft.redacted_projects,
        quality=own.quality if draft.quality is None else draft.quality,
        usage_count=draft.usage_count,
        last_used_at=draft.last_used_at,
        source_memory_id=draft.source_memory_id,
        conversation_id=draft.conversation_id,
        digest=text.digest,
        bands=text.bands,
    )


def merge_insights(told: Sequence[tuple[UUID, MemoryIn, InsightDraft]]) -> None:
    """Add what was said again to what is known: projects, topics, tags, metadata, the greater confidence and quality,
    and the later end. What was not said changes nothing."""
    rows: dict[UUID, dict[str, Any]] = {}
    for pk, memory, draft in told:
        one = rows.setdefault(
            pk,
            {"memory_id": pk, "metadata": {}} | dict.fromkeys(GREATEST_FIELDS) | dict.fromkeys(ACCUMULATED_FIELDS, ()),
        )
        one["metadata"] = one["metadata"] | dict(draft.metadata)
        ends = [one.get("expires_at", memory.expires_at), memory.expires_at]
        one["expires_at"] = None if None in ends else max(ends)
        for name, more in zip(
            ACCUMULATED_FIELDS, (draft.redacted_projects, draft.topics or (), draft.tags), strict=True
        ):
            one[name] = list(dict.fromkeys([*one[name], *more]))
        for name in GREATEST_FIELDS:
            one[name] = max((n for n in (one[name], getattr(draft, name)) if n is not None), default=None)
    if not rows:
        return
    with connection.cursor() as cursor:
        for statement in (MERGE_MEMORIES_SQL, MERGE_INSIGHTS_SQL):
            cursor.execute(statement, [to_json(list(rows.values())).decode()])
