"""Keeping patterns: one statement for one or several, in which twenty writers add up exactly."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from memories.knowledge.models import MAX_PATTERN_EXAMPLES, Pattern
from memory_site.core.db.ids import uuid7

# Sorted, so that two who keep the same patterns wait for each other instead of locking each other out.
UPSERT_PATTERNS_SQL = f"""
INSERT INTO knowledge_pattern AS kept
    (id, namespace_id, user_id, pattern_type, key, description, frequency, confidence, examples, metadata)
SELECT id, %(namespace)s, user_id, pattern_type, key, description, frequency, coalesce(confidence, 1), examples,
       metadata
FROM jsonb_to_recordset(%(drafts)s::jsonb) AS draft (
    id uuid, user_id text, pattern_type text, key text, description text, frequency bigint, confidence float8,
    examples varchar[], metadata jsonb
)
ORDER BY user_id, key
ON CONFLICT (namespace_id, user_id, key) DO UPDATE SET
    pattern_type = excluded.pattern_type,
    description = coalesce(excluded.description, kept.description),
    frequency = {{frequency}},
    confidence = {{confidence}},
    examples = (excluded.examples || ARRAY(
        SELECT example FROM unnest(kept.examples) WITH ORDINALITY AS before (example, place)
        WHERE example <> ALL (excluded.examples) ORDER BY place
    ))[:{MAX_PATTERN_EXAMPLES}],
    metadata = kept.metadata || excluded.metadata,
    updated_at = greatest(kept.updated_at, clock_timestamp())
RETURNING *
"""
ADD_PATTERN_OCCURRENCES_SQL = UPSERT_PATTERNS_SQL.format(
    frequency="kept.frequency + excluded.frequency",
    # An unsaid one does not count for the 1 that it begins with.
    confidence="CASE WHEN %(said)s THEN greatest(kept.confidence, excluded.confidence) ELSE kept.confidence END",
)
# What one conversation shows can be counted again and again, and is then the same.
MERGE_DISCOVERED_PATTERNS_SQL = UPSERT_PATTERNS_SQL.format(
    frequency="greatest(kept.frequency, excluded.frequency)",
    confidence="greatest(kept.confidence, excluded.confidence)",
)


def add_occurrences(namespace_id: int, draft: dict[str, Any]) -> tuple[Pattern, bool]:
    """Keep a pattern that has occurred so many times more (`frequency`): it, and whether it is new."""
    mine = uuid7()
    [pattern] = upsert_patterns(
        ADD_PATTERN_OCCURRENCES_SQL, namespace_id, [draft | {"id": mine}], said=draft["confidence"] is not None
    )
    return pattern, pattern.pk == mine


def merge_discovered(namespace_id: int, drafts: Sequence[dict[str, Any]]) -> list[Pattern]:
    """Keep patterns that were found so often in one conversation: the greatest `frequency` stays."""
    return (
        upsert_patterns(MERGE_DISCOVERED_PATTERNS_SQL, namespace_id, [draft | {"id": uuid7()} for draft in drafts])
        if drafts
        else []
    )


def upsert_patterns(sql: str, namespace_id: int, drafts: Sequence[dict[str, Any]], **more: object) -> list[Pattern]:
    asked = {"namespace": namespace_id, "drafts": to_json(drafts).decode(), **more}
    return list(Pattern.objects.raw(sql, asked))
