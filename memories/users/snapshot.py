"""A user's memories and relationships in one statement, as JSON that PostgreSQL builds."""

from django.db import connection

from memories.schemas import build_out_members_sql, format_timestamp_sql
from memories.states import alive_sql

MAX_SNAPSHOT_MEMORIES, MAX_SNAPSHOT_RELATIONSHIPS = 1_000, 10_000
SELECT_USER_SNAPSHOT_SQL = f"""
WITH newest AS MATERIALIZED (
    SELECT {build_out_members_sql("memory")} FROM memories_memory memory
    WHERE namespace_id = %(namespace)s AND user_id = %(user)s
      AND {alive_sql("memory")}
    ORDER BY memory.created_at DESC, memory.id DESC LIMIT {MAX_SNAPSHOT_MEMORIES}
),
among AS MATERIALIZED (
    SELECT link.id, from_memory_id AS from_id, to_memory_id AS to_id, type, strength, metadata,
           {format_timestamp_sql("created_at")} AS created_at, {format_timestamp_sql("updated_at")} AS updated_at
    FROM graph_relationship link
    WHERE namespace_id = %(namespace)s AND owner = %(user)s
      AND from_memory_id IN (SELECT id FROM newest) AND to_memory_id IN (SELECT id FROM newest)
    ORDER BY strength DESC, link.id DESC LIMIT {MAX_SNAPSHOT_RELATIONSHIPS}
)
SELECT (SELECT coalesce(json_agg(newest), '[]')::text FROM newest),
       (SELECT coalesce(json_agg(among), '[]')::text FROM among)
"""


def load_user_snapshot(namespace_id: int, user_id: str) -> str:
    """Return UserMemoriesOut as JSON: the newest memories, and the strongest relationships among them."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_USER_SNAPSHOT_SQL, {"namespace": namespace_id, "user": user_id})
        memories, relationships = cursor.fetchone()
    return f'{{"memories":{memories},"relationships":{relationships}}}'
