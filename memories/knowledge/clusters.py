"""Clusters put right in the background: those that two transactions missed, and those that nothing belongs to."""

from typing import Any

from django.db import connection

from memories.knowledge.models import name_of
from memories.knowledge.schemas.clusters import TaggedClusterOut

AT_ONCE = 1_000
SETTLE = """
WITH due AS (DELETE FROM knowledge_duecluster RETURNING namespace_id, memory_type, key)
SELECT count(*) FROM (
    SELECT knowledge_need_cluster(due.namespace_id, due.memory_type, found.tags)
    FROM (SELECT DISTINCT namespace_id, memory_type, key FROM due) due
    CROSS JOIN LATERAL (
        SELECT tags FROM memories_memory memory
        WHERE memory.namespace_id = due.namespace_id AND memory.memory_type = due.memory_type
          AND knowledge_key(memory.tags) = due.key AND cardinality(memory.tags) > 0
        LIMIT 1
    ) found
    OFFSET 0
) looked_at
"""
# Cluster by cluster (that is what OFFSET does): joined, all memories would be read. The function asks again.
REMOVE = f"""
SELECT count(*) FILTER (WHERE knowledge_leave_cluster(namespace_id, memory_type, key)) FROM (
    SELECT namespace_id, memory_type, key FROM knowledge_cluster cluster
    WHERE NOT told AND NOT EXISTS (
        SELECT FROM memories_memory memory
        WHERE memory.namespace_id = cluster.namespace_id AND memory.memory_type = cluster.memory_type
          AND knowledge_key(memory.tags) = cluster.key AND cardinality(memory.tags) > 0
        OFFSET 0
    )
    LIMIT {AT_ONCE}
) empty
"""


def settle() -> int:
    """Make the clusters that are due, if there are memories for them; how many were looked at. What somebody is making
    just now stays due."""
    return counted(SETTLE)


def remove_empty() -> int:
    """Remove clusters without memories of which nobody has said anything; how many."""
    total = 0
    while removed := counted(REMOVE):
        total += removed
    return total


def counted(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


CLUSTER_COLUMNS = tuple(TaggedClusterOut.model_fields)


def cluster_out(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"name": row["name"] or name_of(row["memory_type"], row["tags"])}
