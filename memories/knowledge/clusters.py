"""Upsert of named clusters, and the background repair: create missing rows, delete clusters without members."""

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Value
from django.db.models.functions import Now

from memories.knowledge.models import Cluster, TagsKey, build_cluster_name
from memories.knowledge.schemas.clusters import ClusterIn, TaggedClusterOut
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock

EMPTY_CLUSTER_BATCH_SIZE = 1_000
CLUSTER_COLUMNS = tuple(TaggedClusterOut.model_fields)
CREATE_DUE_CLUSTERS_SQL = """
WITH due AS (
    DELETE FROM knowledge_duecluster WHERE namespace_id = %(namespace)s RETURNING namespace_id, memory_type, key
)
SELECT count(*) FROM (
    SELECT knowledge_ensure_cluster(due.namespace_id, due.memory_type, member.tags)
    FROM (SELECT DISTINCT namespace_id, memory_type, key FROM due) due
    CROSS JOIN LATERAL (
        SELECT tags FROM memories_memory memory
        WHERE memory.namespace_id = %(namespace)s AND memory.memory_type = due.memory_type
          AND knowledge_tags_key(memory.tags) = due.key AND cardinality(memory.tags) > 0
        LIMIT 1
    ) member
    OFFSET 0
) created
"""
# OFFSET 0 keeps the subqueries from being joined, which would read all memories. The function checks again under lock.
REMOVE_EMPTY_CLUSTERS_SQL = f"""
SELECT count(*) FILTER (WHERE knowledge_drop_empty_cluster(namespace_id, memory_type, key)) FROM (
    SELECT namespace_id, memory_type, key FROM knowledge_cluster cluster
    WHERE namespace_id = %(namespace)s AND NOT is_explicit AND NOT EXISTS (
        SELECT FROM memories_memory memory
        WHERE memory.namespace_id = %(namespace)s AND memory.memory_type = cluster.memory_type
          AND knowledge_tags_key(memory.tags) = cluster.key AND cardinality(memory.tags) > 0
        OFFSET 0
    )
    LIMIT {EMPTY_CLUSTER_BATCH_SIZE}
) empty
"""


def upsert_cluster(namespace_id: int, payload: ClusterIn) -> tuple[UUID, bool]:
    """Name the cluster of a type and its tags; fields that are not set keep their value.

    Return its id and whether it is new.
    """
    given = {"name": payload.name, "description": payload.description, "is_explicit": True}
    given |= payload.model_dump(include={"topics", "confidence"} & payload.model_fields_set)
    changes = {name: value for name, value in given.items() if value is not None} | {"updated_at": Now()}
    # The key finds the row by the unique index; the tags are only what a new row gets.
    same_key = Cluster.objects.filter(key=TagsKey(Value(payload.tags, Cluster._meta.get_field("tags"))))
    cluster, created = same_key.update_or_create(
        namespace_id=namespace_id,
        memory_type=payload.memory_type,
        tags=payload.tags,
        defaults=changes,
        create_defaults=given,
    )
    return cluster.pk, created


def create_due_clusters(namespace_id: int) -> int:
    """Create a namespace's clusters that are due and have memories. Return how many were checked.

    A cluster that another transaction is creating at the moment stays due.
    """
    return fetch_count(CREATE_DUE_CLUSTERS_SQL, namespace_id)


def remove_empty_clusters(namespace_id: int) -> int:
    """Delete a namespace's clusters without memories that no caller has named or described. Return their number."""
    total = 0
    while removed := fetch_count(REMOVE_EMPTY_CLUSTERS_SQL, namespace_id):
        total += removed
    return total


@retry_on_deadlock
def fetch_count(sql: str, namespace_id: int) -> int:
    with bounded_transaction(), connection.cursor() as cursor:
        cursor.execute(sql, {"namespace": namespace_id})
        [count] = cursor.fetchall()[0]
        return count


def to_cluster_out(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"name": row["name"] or build_cluster_name(row["memory_type"], row["tags"])}
