"""What is made anew of lines and never believed: whoever writes a file could say anything there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from pydantic import BaseModel

from memories.insights.capture import fingerprint_memory
from memories.insights.redaction import redact_project_name
from memories.models import Memory
from memories.projects.visibility import map_redacted_names
from memories.types import MemoryType

NEVER_INSIGHT, NO_LONGER_INSIGHT = "never", "no longer"
SELECT_MEMORIES_BY_OLD_ID_SQL = f"""
SELECT ids.old, ids.is_new, memory.memory_type, memory.id, memory.content, memory.entity_id
FROM exchange_ids ids JOIN {Memory._meta.db_table} memory ON memory.id = ids.new
WHERE ids.kind = 'memory' AND ids.old = ANY(%s)
"""


def derive_line_columns(kind: str, read: BaseModel) -> dict[str, Any]:
    """Columns that follow from the line alone. Names of projects that look secret are never kept with insights."""
    if kind == "insight" and read.projects:
        return {"projects": list(dict.fromkeys(map(redact_project_name, read.projects)))}
    if kind == "project_group":
        return {"redacted_names": map_redacted_names(read.projects or ())}
    if kind == "project_dependency":
        return {"redacted_names": map_redacted_names(filter(None, (read.source_project, read.target_project)))}
    return {}


def fetch_insight_columns(ids: Sequence[UUID]) -> dict[UUID, dict[str, Any] | str]:
    """By the id of a memory in the file, what an insight of it is recognised by, made of its text as it is here; NEVER
    of a new memory that is no insight, NO_LONGER of one that was here and is none."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_MEMORIES_BY_OLD_ID_SQL, [list(ids)])
        rows = cursor.fetchall()
    return {
        old: derive_insight_columns(*memory)
        if memory_type == MemoryType.INSIGHT
        else NEVER_INSIGHT
        if is_new
        else NO_LONGER_INSIGHT
        for old, is_new, memory_type, *memory in rows
    }


def derive_insight_columns(id: UUID, content: str, entity_id: str | None) -> dict[str, Any]:
    text = fingerprint_memory(Memory(id=id, content=content, entity_id=entity_id))
    return {"digest": f"\\x{text.digest.hex()}", "bands": text.bands}
