"""Memories that hang together with one memory, over some steps."""

from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.datetime import TimestamptzLoader

from memories.add import named
from memories.schemas import memory_out, out_columns

FARTHEST = 6
# The start is checked first: nobody walks from a memory that is not his, and relationships never leave its user.
RELATED = f"""
SELECT {out_columns("memory")}, near.distance, near.path_type, near.strength
FROM memories_memory start
CROSS JOIN LATERAL graph_related(start.id, %(farthest)s, %(enough)s) near
JOIN memories_memory memory ON memory.id = near.id
WHERE start.namespace_id = %(namespace)s AND start.id = %(start)s
  AND (start.expires_at IS NULL OR start.expires_at > statement_timestamp())
ORDER BY near.distance, near.strength DESC, near.id DESC
"""
FOUND = ("distance", "path_type", "strength")


def related(namespace_id: int, start: UUID, farthest: int, limit: int) -> list[dict[str, Any]]:
    """RelatedOut dictionaries, the nearest first; of equally near ones, the strongest. One statement."""
    asked = {"namespace": namespace_id, "start": start, "farthest": farthest, "enough": limit}
    with connection.cursor() as cursor:
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(RELATED, asked)
        rows = cursor.fetchall()
    return [{"memory": memory_out(named(row))} | dict(zip(FOUND, row[-3:], strict=True)) for row in rows]
