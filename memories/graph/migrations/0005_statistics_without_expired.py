"""The statistics of a user no longer count relationships of memories that had expired."""

from django.db import migrations

USER_STATISTICS_SQL = """
DROP MATERIALIZED VIEW graph_userstatistics;

CREATE MATERIALIZED VIEW graph_userstatistics AS
WITH typed AS (
    SELECT namespace_id, user_id, memory_type, count(*) AS memories, count(entity_id) AS entities,
           min(created_at) AS first_at, max(created_at) AS latest_at
    FROM memories_memory
    WHERE owner <> '' AND (expires_at IS NULL OR expires_at > statement_timestamp())
    GROUP BY namespace_id, user_id, memory_type
),
expired AS MATERIALIZED (SELECT id FROM memories_memory WHERE expires_at <= statement_timestamp()),
linked AS (
    SELECT namespace_id, owner AS user_id, count(*) AS relationships
    FROM graph_relationship
    WHERE owner <> '' AND from_memory_id NOT IN (SELECT id FROM expired) AND to_memory_id NOT IN (SELECT id FROM expired)
    GROUP BY namespace_id, owner
)
SELECT namespace_id, user_id, sum(memories)::bigint AS memories,
       coalesce(max(relationships), 0) AS relationships, sum(entities)::bigint AS entities,
       jsonb_object_agg(memory_type, memories) AS types,
       min(first_at) AS first_at, max(latest_at) AS latest_at, statement_timestamp() AS refreshed_at
FROM typed LEFT JOIN linked USING (namespace_id, user_id)
GROUP BY namespace_id, user_id;

-- REFRESH … CONCURRENTLY, which does not block readers, needs a unique index.
CREATE UNIQUE INDEX user_statistics ON graph_userstatistics (namespace_id, user_id);
"""


class Migration(migrations.Migration):
    dependencies = [("graph", "0004_user_statistics"), ("memories", "0007_expiring_of_user")]
    operations = [migrations.RunSQL(USER_STATISTICS_SQL, migrations.RunSQL.noop)]
