"""Clusters put right in the background: those that two transactions missed, and those that nothing belongs to."""

from typing import Any

from django.db import connection

from memories.knowledge.models import build_cluster_name
from memories.knowledge.schemas.clusters import TaggedClusterOut

EMPTY_CLUSTER_BATCH_SIZE = 1_000
CREATE_DUE_CLUSTERS_SQL = """
WITH due AS (DELETE FROM knowledge_duecluster RETURNING namespace_id, memory_type, key)
SELECT count(*) FROM (
    SELECT knowledge_ensure_cluster(due.namespace_id, due.memory_type, found.tags)
    FROM (SELECT DISTINCT namespace_id, memory_type, key FROM due) due
    CROSS JOIN LATERAL (
        SELECT tags FROM memories_memory memory
        WHERE memory.namespace_id = due.namespace_id AND memory.memory_type = due.memory_type
          AND knowledge_tags_key(memory.tags) = due.key AND cardinality(memory.tags) > 0
        LIMIT 1
    ) found
    OFFSET 0
) looked_at
"""
# Cluster by cluster (that is what OFFSET does): joined, all memories would be read. The function asks again.
REMOVE_EMPTY_CLUSTERS_SQL = f"""
SELECT count(*) FILTER (WHERE knowledge_drop_empty_cluster(namespace_id, memory_type, key)) FROM (
    SELECT namespace_id, memory_type, key FROM knowledge_cluster cluster
    WHERE NOT is_explicit AND NOT EXISTS (
        SELECT FROM memories_memory memory
        WHERE memory.namespace_id = cluster.namespace_id AND memory.memory_type = cluster.memory_type
          AND knowledge_tags_key(memory.tags) = cluster.key AND cardinality(memory.tags) > 0
        OFFSET 0
    )
    LIMIT {EMPTY_CLUSTER_BATCH_SIZE}
) empty
"""


def create_due_clusters() -> int:
    """Make the clusters that are due, if there are memories for them; how many were looked at. What somebody is making
    just now stays due."""
    return fetch_count(CREATE_DUE_CLUSTERS_SQL)


def remove_empty_clusters() -> int:
    """Remove clusters without memories of which nobody has said anything; how many."""
    total = 0
    while removed := fetch_count(REMOVE_EMPTY_CLUSTERS_SQL):
        total += removed
    return total


def fetch_count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


CLUSTER_COLUMNS = tuple(TaggedClusterOut.model_fields)


def to_cluster_out(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"name": row["name"] or build_cluster_name(row["memory_type"], row["tags"])}
