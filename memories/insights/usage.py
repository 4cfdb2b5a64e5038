"""Record the use of an insight, which exempts it from pruning."""

from typing import Any
from uuid import UUID

from django.db import connection

from memories.insights.schemas import INSIGHT_OUT_COLUMNS, insight_out_from_values
from memories.schemas import due_at_sql
from memories.states import alive_sql

COLUMN_EXPRESSIONS = {"due__due_at": due_at_sql("memory")}
RETURNED_COLUMNS_SQL = ", ".join(
    COLUMN_EXPRESSIONS.get(column)
    or (f"insight.{column.removeprefix('insight__')}" if column.startswith("insight__") else f"memory.{column}")
    for column in INSIGHT_OUT_COLUMNS.values()
)
# One statement: counts of concurrent uses differ, and the row lock ends with it. The ORM has no UPDATE … RETURNING.
RECORD_INSIGHT_USE_SQL = f"""
UPDATE insights_insight insight
SET usage_count = least(usage_count::bigint + 1, 2147483647)::integer, last_used_at = statement_timestamp()
FROM memories_memory memory
WHERE memory.namespace_id = %(namespace)s AND memory.id = %(memory)s
    AND insight.memory_id = %(memory)s AND insight.namespace_id = %(namespace)s
    AND {alive_sql("memory")}
RETURNING {RETURNED_COLUMNS_SQL}
"""


def record_use(namespace_id: int, memory_id: UUID) -> dict[str, Any] | None:
    """Count one use; return InsightOut, or None if the insight does not exist."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD_INSIGHT_USE_SQL, {"namespace": namespace_id, "memory": memory_id})
        row = cursor.fetchone()
    return insight_out_from_values(row) if row else None
