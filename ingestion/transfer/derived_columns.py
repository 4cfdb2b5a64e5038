"""Columns computed on import and never read from the file, which could contain anything."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from memories.insights.capture import fingerprint_memory
from memories.insights.redaction import redact_project_name
from memories.memory_types import MemoryType
from memories.models import Memory
from memories.projects.storage import map_redacted_names

#: Why a memory has no insight columns: it was imported with another type, or an existing one has changed its type.
NEVER_INSIGHT, NO_LONGER_INSIGHT = "never", "no longer"
SELECT_MEMORIES_BY_OLD_ID_SQL = f"""
SELECT ids.old, ids.is_new, memory.memory_type, memory.id, memory.content, memory.entity_id, memory.key
FROM exchange_ids ids JOIN {Memory._meta.db_table} memory
    ON memory.namespace_id = %s AND memory.id = ids.new
WHERE ids.kind = 'memory' AND ids.old = ANY(%s)
"""


def derive_line_columns(kind: str, line: Any) -> dict[str, Any]:
    """Return the columns that follow from a parsed line alone. Project names that look secret are redacted."""
    if kind == "insight" and line.projects:
        return {"projects": list(dict.fromkeys(map(redact_project_name, line.projects)))}
    if kind == "project_group":
        return {"redacted_names": map_redacted_names(line.projects or ())}
    if kind == "project_dependency":
        return {"redacted_names": map_redacted_names(filter(None, (line.source_project, line.target_project)))}
    return {}


def fetch_insight_columns(namespace_id: int, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any] | str]:
    """Return the columns that identify an insight, computed from the stored text, by the memory's id in the file.

    The value is NEVER_INSIGHT for an imported memory of another type, and NO_LONGER_INSIGHT for an existing one.
    """
    with connection.cursor() as cursor:
        cursor.execute(SELECT_MEMORIES_BY_OLD_ID_SQL, [namespace_id, list(ids)])
        rows = cursor.fetchall()
    return {
        old: derive_insight_columns(*memory)
        if memory_type == MemoryType.INSIGHT
        else NEVER_INSIGHT
        if is_new
        else NO_LONGER_INSIGHT
        for old, is_new, memory_type, *memory in rows
    }


def derive_insight_columns(id: UUID, content: str, entity_id: str | None, key: str | None) -> dict[str, Any]:
    text = fingerprint_memory(Memory(id=id, content=content, entity_id=entity_id, key=key))
    return {"digest": f"\\x{text.digest.hex()}", "bands": text.bands}
