"""What is made anew of lines and never believed: whoever writes a file could say anything there."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from pydantic import BaseModel

from memories.insights.capture import text_of
from memories.insights.redaction import masked
from memories.models import Memory
from memories.projects.visibility import masks_of
from memories.types import MemoryType

NEVER, NO_LONGER = "never", "no longer"
NAMED = f"""
SELECT ids.old, ids.is_new, memory.memory_type, memory.id, memory.content, memory.entity_id
FROM exchange_ids ids JOIN {Memory._meta.db_table} memory ON memory.id = ids.new
WHERE ids.kind = 'memory' AND ids.old = ANY(%s)
"""


def of_line(kind: str, read: BaseModel) -> dict[str, Any]:
    """Columns that follow from the line alone. Names of projects that look secret are never kept with insights."""
    if kind == "insight" and read.projects:
        return {"projects": list(dict.fromkeys(map(masked, read.projects)))}
    if kind == "project_group":
        return {"masks": masks_of(read.projects or ())}
    if kind == "project_dependency":
        return {"masks": masks_of(filter(None, (read.source_project, read.target_project)))}
    return {}


def marks_of(ids: Sequence[UUID]) -> dict[UUID, dict[str, Any] | str]:
    """By the id of a memory in the file, what an insight of it is recognised by, made of its text as it is here; NEVER
    of a new memory that is no insight, NO_LONGER of one that was here and is none."""
    with connection.cursor() as cursor:
        cursor.execute(NAMED, [list(ids)])
        rows = cursor.fetchall()
    return {
        old: marks(*memory) if memory_type == MemoryType.INSIGHT else NEVER if is_new else NO_LONGER
        for old, is_new, memory_type, *memory in rows
    }


def marks(id: UUID, content: str, entity_id: str | None) -> dict[str, Any]:
    text = text_of(Memory(id=id, content=content, entity_id=entity_id))
    return {"digest": f"\\x{text.digest.hex()}", "bands": text.bands}
