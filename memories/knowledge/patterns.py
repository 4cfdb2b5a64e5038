"""Upsert of patterns in one statement, so that concurrent writers add up exactly."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from memories.knowledge.models import MAX_PATTERN_EXAMPLES, Pattern
from memory_site.core.db.ids import uuid7

# Sorted, so that two transactions with the same patterns lock the rows in the same order and cannot deadlock.
UPSERT_PATTERNS_SQL = f"""
INSERT INTO knowledge_pattern AS existing
    (id, namespace_id, user_id, pattern_type, key, description, frequency, confidence, examples, metadata, created_at,
     updated_at)
SELECT id, %(namespace)s, user_id, pattern_type, key, description, frequency, coalesce(confidence, 1), examples,
       metadata, statement_timestamp(), statement_timestamp()
FROM jsonb_to_recordset(%(drafts)s::jsonb) AS draft (
    id uuid, user_id text, pattern_type text, key text, description text, frequency bigint, confidence float8,
    examples varchar[], metadata jsonb
)
ORDER BY user_id, key
ON CONFLICT (namespace_id, user_id, key) DO UPDATE SET
    pattern_type = excluded.pattern_type,
    description = coalesce(excluded.description, existing.description),
    frequency = {{frequency}},
    confidence = {{confidence}},
    examples = (excluded.examples || ARRAY(
        SELECT example FROM unnest(existing.examples) WITH ORDINALITY AS previous (example, place)
        WHERE example <> ALL (excluded.examples) ORDER BY place
    ))[:{MAX_PATTERN_EXAMPLES}],
    metadata = existing.metadata || excluded.metadata,
    updated_at = greatest(existing.updated_at, excluded.updated_at)
RETURNING *
"""
ADD_PATTERN_OCCURRENCES_SQL = UPSERT_PATTERNS_SQL.format(
    frequency="existing.frequency + excluded.frequency",
    confidence="greatest(existing.confidence, excluded.confidence)",
)
# A confidence that is not given must not raise the stored one by its default of 1.
ADD_PATTERN_OCCURRENCES_WITHOUT_CONFIDENCE_SQL = UPSERT_PATTERNS_SQL.format(
    frequency="existing.frequency + excluded.frequency", confidence="existing.confidence"
)
# Idempotent: discovering the same conversation again changes no frequency.
MERGE_DISCOVERED_PATTERNS_SQL = UPSERT_PATTERNS_SQL.format(
    frequency="greatest(existing.frequency, excluded.frequency)",
    confidence="greatest(existing.confidence, excluded.confidence)",
)


def add_occurrences(namespace_id: int, draft: dict[str, Any]) -> tuple[Pattern, bool]:
    """Add the draft's `frequency` to a pattern. Return the pattern and whether it is new."""
    new_id, has_confidence = uuid7(), draft["confidence"] is not None
    sql = ADD_PATTERN_OCCURRENCES_SQL if has_confidence else ADD_PATTERN_OCCURRENCES_WITHOUT_CONFIDENCE_SQL
    [pattern] = upsert_patterns(sql, namespace_id, [draft | {"id": new_id}])
    return pattern, pattern.pk == new_id


def merge_discovered(namespace_id: int, drafts: Sequence[dict[str, Any]]) -> list[Pattern]:
    """Store patterns found in one conversation; the greater of the stored and the new `frequency` stays."""
    return (
        upsert_patterns(MERGE_DISCOVERED_PATTERNS_SQL, namespace_id, [draft | {"id": uuid7()} for draft in drafts])
        if drafts
        else []
    )


def upsert_patterns(sql: str, namespace_id: int, drafts: Sequence[dict[str, Any]]) -> list[Pattern]:
    return list(Pattern.objects.raw(sql, {"namespace": namespace_id, "drafts": to_json(drafts).decode()}))
