"""Memories that are connected with one memory over several relationships."""

from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.datetime import TimestamptzLoader

from memories.schemas import qualify_out_columns, to_memory_out
from memories.states import alive_sql
from memories.storage import row_to_dict

MAX_DISTANCE = 6
# The start is checked to be in the namespace; relationships join memories of one user, so all that follow are, too.
SELECT_RELATED_SQL = f"""
SELECT {qualify_out_columns("memory")}, near.distance, near.path_type, near.strength
FROM memories_memory start
CROSS JOIN LATERAL graph_related(start.namespace_id, start.id, %(max_distance)s, %(limit)s) near
JOIN memories_memory memory ON memory.namespace_id = start.namespace_id AND memory.id = near.id
WHERE start.namespace_id = %(namespace)s AND start.id = %(start)s
  AND {alive_sql("start")}
ORDER BY near.distance, near.strength DESC, near.id DESC
"""
PATH_COLUMNS = ("distance", "path_type", "strength")


def find_related(namespace_id: int, start: UUID, max_distance: int, limit: int) -> list[dict[str, Any]]:
    """Return RelatedMemoryOut dictionaries, the nearest first; of equally near ones, the strongest. One statement."""
    parameters: dict[str, Any] = {
        "namespace": namespace_id,
        "start": start,
        "max_distance": max_distance,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(SELECT_RELATED_SQL, parameters)
        rows = cursor.fetchall()
    return [
        {"memory": to_memory_out(row_to_dict(row)), **dict(zip(PATH_COLUMNS, row[-len(PATH_COLUMNS) :], strict=True))}
        for row in rows
    ]
