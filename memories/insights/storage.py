"""Insert insights, each once in its namespace, or merge them into the one that is the same or nearly the same.

Writers take a per-namespace advisory lock before they lock any memory row. So of concurrent identical insights only one
is inserted, and the fixed lock order prevents deadlocks.
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
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.schemas import MemoryIn, remove_duplicates
from memories.states import REACTIVATE_SQL
from memories.storage import insert_memories
from memory_site.core.db.actor import ACTOR_SQL, get_actor_parameters
from memory_site.core.db.locks import advisory_xact_lock

MAX_PROJECTS_PER_INSIGHT, MAX_TOPICS_PER_INSIGHT, MAX_TAGS_PER_INSIGHT = 64, 32, 256
#: How fields of the same insight are merged: lists are united, of numbers the greater one stays.
UNITED_FIELDS, GREATEST_FIELDS = ("projects", "topics", "tags"), ("confidence", "quality")
# A waiting request occupies one of the web server's few threads: after this time the client is asked to retry.
MAX_LOCK_WAIT_SECONDS = 2


def build_new_elements_sql(row: str, column: str) -> str:
    """Return SQL for the elements of an input's array that a row's array does not have, in the input's order."""
    return f"""ARRAY(
        SELECT name FROM unnest(input.{column}) WITH ORDINALITY AS element (name, position)
        WHERE name <> ALL ({row}.{column}) ORDER BY position
    )"""


# A field that the input leaves out stays. Memories are updated before insights, as when a memory is deleted, and in the
# order of their ids; a row that would stay the same is not written.
MERGE_MEMORIES_SQL = f"""
UPDATE memories_memory memory
SET confidence = greatest(memory.confidence, input.confidence), metadata = memory.metadata || input.metadata,
    expires_at = CASE WHEN memory.expires_at IS NULL OR input.expires_at IS NULL THEN NULL
                 ELSE greatest(memory.expires_at, input.expires_at) END,
    tags = (memory.tags || {build_new_elements_sql("memory", "tags")})[:{MAX_TAGS_PER_INSIGHT}],
    {REACTIVATE_SQL.format(row="memory")}
FROM (
    SELECT id, input.* FROM memories_memory stored
    JOIN jsonb_to_recordset(%(rows)s::jsonb) AS input(
        memory_id uuid, confidence float8, tags varchar[], metadata jsonb, expires_at timestamptz
    ) ON stored.namespace_id = %(namespace)s AND input.memory_id = id
    WHERE input.confidence > stored.confidence OR NOT stored.tags @> input.tags OR NOT stored.metadata @> input.metadata
       OR stored.expires_at < coalesce(input.expires_at, 'infinity') OR stored.state = 'superseded'
    ORDER BY id FOR NO KEY UPDATE OF stored
) input, {ACTOR_SQL}
WHERE memory.namespace_id = %(namespace)s AND memory.id = input.id
"""
MERGE_INSIGHTS_SQL = f"""
UPDATE insights_insight insight
SET quality = greatest(insight.quality, input.quality),
    projects = (insight.projects || {build_new_elements_sql("insight", "projects")})[:{MAX_PROJECTS_PER_INSIGHT}],
    topics = (insight.topics || {build_new_elements_sql("insight", "topics")})[:{MAX_TOPICS_PER_INSIGHT}]
FROM jsonb_to_recordset(%(rows)s::jsonb) AS input(memory_id uuid, projects varchar[], topics varchar[], quality float8)
WHERE insight.namespace_id = %(namespace)s AND insight.memory_id = input.memory_id
    AND NOT (insight.projects @> input.projects AND insight.topics @> input.topics
             AND insight.quality >= coalesce(input.quality, 0))
"""


@dataclass(frozen=True, slots=True)
class InsightDraft:
    """An insight to save. Type, topics, confidence and quality that are None are set by `scoring.score_insight`;
    projects have their true names and are redacted on the way to the database."""

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
        return remove_duplicates(list(map(redact_project_name, self.projects)))[:MAX_PROJECTS_PER_INSIGHT]

    def to_memory(self) -> MemoryIn:
        """Return the memory that holds the insight. Raises ValidationError for values that no memory can have."""
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


@dataclass(slots=True, eq=False)
class InsightInput:
    """A memory with its insight, on the way to the database.

    It is either a `duplicate` of a stored insight, or `repeats` an earlier input of the request, or is inserted.
    `memory_id` and `is_new` are set on the way.
    """

    memory: MemoryIn
    draft: InsightDraft
    fingerprint: TextFingerprint = field(init=False)
    duplicate: Duplicate | None = None
    repeats: "InsightInput | None" = None
    memory_id: UUID = field(init=False)
    is_new: bool = False

    def __post_init__(self) -> None:
        self.fingerprint = TextFingerprint.of(self.memory.content)

    @property
    def is_exact_duplicate(self) -> bool:
        """Whether the stored insight has the very same content and user."""
        stored = self.duplicate
        return stored is not None and (stored.content, stored.user_id) == (self.memory.content, self.memory.user_id)


def save_insights(namespace_id: int, drafts: Sequence[InsightDraft]) -> list[tuple[UUID, bool]]:
    """Insert each insight, or merge it into the stored one that is the same or nearly the same.

    Return for each draft the memory's id and whether it is new. Call it in a transaction that ends soon: until then no
    other transaction can write insights of the namespace. Raises ValidationError for values that no memory can have.
    """
    return upsert_from_memories(namespace_id, [InsightInput(each.to_memory(), each) for each in drafts])


def upsert_from_memories(
    namespace_id: int, inputs: Sequence[InsightInput], serving: str | None = None, *, merge_exact: bool = False
) -> list[tuple[UUID, bool]]:
    """Do the same for memories that say more than a draft can.

    With `merge_exact`, an exact duplicate is also stored again as a memory, which merges its other fields.
    """
    if not inputs:
        return []
    lock_namespace_insights(namespace_id)
    new_inputs = match_duplicates(namespace_id, inputs)
    insert_insights(namespace_id, new_inputs, serving)
    for each in inputs:
        if each.repeats:
            each.memory_id = each.repeats.memory_id
    exact = [each.memory for each in inputs if each.is_exact_duplicate] if merge_exact else []
    if exact:
        insert_memories(namespace_id, exact, serving)
    merge_insights(namespace_id, [each for each in inputs if each.duplicate or each.repeats])
    return [(each.memory_id, each.is_new) for each in inputs]


def lock_namespace_insights(namespace_id: int) -> None:
    """Let one transaction at a time write insights of the namespace."""
    advisory_xact_lock(f"insights {namespace_id}", MAX_LOCK_WAIT_SECONDS)


def match_duplicates(namespace_id: int, inputs: Sequence[InsightInput]) -> list[InsightInput]:
    """Set `duplicate` or `repeats` of the inputs that are not new; return the others."""
    duplicates = find_duplicates(namespace_id, [each.fingerprint for each in inputs])
    new_inputs: list[InsightInput] = []
    new_texts = NewTextIndex()
    for each, duplicate in zip(inputs, duplicates, strict=True):
        if duplicate:
            each.duplicate, each.memory_id = duplicate, duplicate.memory_id
        elif (position := new_texts.find_or_add(each.fingerprint)) < len(new_inputs):
            each.repeats = new_inputs[position]
        else:
            new_inputs.append(each)
    return new_inputs


def insert_insights(namespace_id: int, inputs: Sequence[InsightInput], serving: str | None) -> None:
    """Insert memories and their insights, and set `memory_id` and `is_new`.

    The memory may exist already, without an insight row: then it is not new.
    """
    if not inputs:
        return
    ids, new_ids = insert_memories(namespace_id, [each.memory for each in inputs], serving)
    for each, pk in zip(inputs, ids, strict=True):
        each.memory_id, each.is_new = pk, pk in new_ids
    Insight.objects.bulk_create(
        [build_insight(namespace_id, each.memory_id, each.memory, each.draft, each.fingerprint) for each in inputs],
        update_conflicts=True,
        unique_fields=["namespace", "memory"],
        update_fields=["digest", "bands"],
        batch_size=500,
    )


def build_insight(
    namespace_id: int, pk: UUID, memory: MemoryIn | Memory, draft: InsightDraft, fingerprint: TextFingerprint
) -> Insight:
    """Return an unsaved insight row; the rules of `scoring` fill in what the draft leaves out."""
    score = score_insight(memory.content)
    topics = score.topics if draft.topics is None else remove_duplicates(list(draft.topics))
    return Insight(
        memory_id=pk,
        namespace_id=namespace_id,
        collection=draft.collection,
        insight_type=draft.insight_type or score.insight_type,
        topics=topics[:MAX_TOPICS_PER_INSIGHT],
        projects=draft.redacted_projects,
        quality=score.quality if draft.quality is None else draft.quality,
        usage_count=draft.usage_count,
        last_used_at=draft.last_used_at,
        source_memory_id=draft.source_memory_id,
        conversation_id=draft.conversation_id,
        digest=fingerprint.digest,
        bands=fingerprint.bands,
    )


def merge_insights(namespace_id: int, inputs: Sequence[InsightInput]) -> None:
    """Merge inputs into the stored rows: unite projects, topics, tags and metadata, and take the greater confidence and
    quality and the later expiry. A field that an input leaves out changes nothing."""
    rows: dict[UUID, dict[str, Any]] = {}
    for each in inputs:
        row = build_merge_row(each)
        rows[each.memory_id] = combine_merge_rows(rows[each.memory_id], row) if each.memory_id in rows else row
    if not rows:
        return
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "rows": to_json(list(rows.values())).decode(),
        **get_actor_parameters(),
    }
    with connection.cursor() as cursor:
        for statement in (MERGE_MEMORIES_SQL, MERGE_INSIGHTS_SQL):
            cursor.execute(statement, parameters)


def build_merge_row(each: InsightInput) -> dict[str, Any]:
    """Return the columns that the merge statements read of one input."""
    draft = each.draft
    return {
        "memory_id": each.memory_id,
        "projects": draft.redacted_projects,
        "topics": remove_duplicates(list(draft.topics or ())),
        "tags": remove_duplicates(list(draft.tags)),
        "confidence": draft.confidence,
        "quality": draft.quality,
        "metadata": dict(draft.metadata),
        "expires_at": each.memory.expires_at,
    }


def combine_merge_rows(row: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one row for two inputs of the same memory; an expiry of None, never, is the latest."""
    expiries = [row["expires_at"], other["expires_at"]]
    united = {name: remove_duplicates([*row[name], *other[name]]) for name in UNITED_FIELDS}
    greatest = {
        name: max((n for n in (row[name], other[name]) if n is not None), default=None) for name in GREATEST_FIELDS
    }
    return {
        "memory_id": row["memory_id"],
        **united,
        **greatest,
        "metadata": row["metadata"] | other["metadata"],
        "expires_at": None if None in expiries else max(expiries),
    }
