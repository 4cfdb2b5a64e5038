"""Creating and removing a cluster, for the triggers on memories and for the periodic clean-up."""

from django.db import migrations

# The plans are cached, because the application's connections plan every statement again (force_custom_plan). A plan may
# be made while the tables are empty, when every access path seems equally cheap: without sequential scans, and with
# `namespace_id + 0`, which no index can serve, only the index that begins with the key is left.
PLANNER_SETTINGS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off"
# Does not wait for another transaction, which may be an import of several minutes: without the lock the cluster is
# queued for the periodic task. There are 64 locks for each namespace, so that a transaction that creates many clusters
# does not exhaust the server's lock table.
ENSURE_CLUSTER_SQL = f"""
CREATE FUNCTION knowledge_ensure_cluster(space bigint, kind text, given varchar[]) RETURNS void LANGUAGE plpgsql
{PLANNER_SETTINGS} AS $$
DECLARE
    wanted bytea := knowledge_tags_key(given);
BEGIN
    IF EXISTS (
        SELECT FROM knowledge_cluster WHERE key = wanted AND namespace_id + 0 = space AND memory_type = kind
    ) THEN
        RETURN;
    END IF;
    IF pg_try_advisory_xact_lock(hashtext('knowledge_cluster ' || space), get_byte(wanted, 0) & 63) THEN
        INSERT INTO knowledge_cluster (id, namespace_id, memory_type, tags, name, topics)
        VALUES (uuidv7(), space, kind, knowledge_normalize_tags(given), '', '{{}}')
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO knowledge_duecluster (namespace_id, memory_type, key) VALUES (space, kind, wanted);
    END IF;
END $$;
"""
# Deletes at once and not later, because tags may name a user who is being erased. Another transaction may be adding a
# memory with the same tags and still see the cluster, so the cluster is queued to be checked again. A namespace that
# is being deleted is left out: its queue rows would violate the foreign key.
DROP_EMPTY_CLUSTER_SQL = f"""
CREATE FUNCTION knowledge_drop_empty_cluster(space bigint, kind text, wanted bytea) RETURNS boolean LANGUAGE plpgsql
{PLANNER_SETTINGS} AS $$
BEGIN
    DELETE FROM knowledge_cluster WHERE id = (
        SELECT id FROM knowledge_cluster
        WHERE key = wanted AND namespace_id + 0 = space AND memory_type = kind AND NOT is_explicit AND NOT EXISTS (
            SELECT FROM memories_memory
            WHERE namespace_id = space AND memory_type = kind AND knowledge_tags_key(tags) = wanted
              AND cardinality(tags) > 0
        )
        FOR UPDATE SKIP LOCKED
    );
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO knowledge_duecluster (namespace_id, memory_type, key)
    SELECT id, kind, wanted FROM sessions_app_namespace WHERE id = space;
    RETURN true;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0003_foreign_keys")]
    operations = [
        migrations.RunSQL(ENSURE_CLUSTER_SQL, "DROP FUNCTION knowledge_ensure_cluster(bigint, text, varchar[])"),
        migrations.RunSQL(DROP_EMPTY_CLUSTER_SQL, "DROP FUNCTION knowledge_drop_empty_cluster(bigint, text, bytea)"),
    ]
