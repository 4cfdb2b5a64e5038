"""Creating and removing a cluster names the namespace in every statement, so that it reads no other namespace's rows."""

from importlib import import_module

from django.db import migrations

CLUSTER_FUNCTIONS = import_module("memories.knowledge.migrations.0004_cluster_functions")
CLUSTER_IDS = import_module("memories.knowledge.migrations.0005_cluster_ids")
EARLIER_ENSURE_SQL = CLUSTER_IDS.replace_function(CLUSTER_IDS.EARLIER).replace("uuidv7()", "knowledge_uuid7()")
EARLIER_DROP_SQL = CLUSTER_IDS.replace_function(CLUSTER_FUNCTIONS.DROP_EMPTY_CLUSTER_SQL)

# The plans are cached, because the application's connections plan every statement again (force_custom_plan). A plan may
# be made while the tables are empty, when every index that begins with the namespace seems equally cheap. Without
# sequential scans and sorts, a range of keys in the order of the unique index leaves only that index.
PLANNER_SETTINGS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off"
IS_WANTED_SQL = "namespace_id = space AND memory_type = kind AND key BETWEEN wanted AND wanted"
# Does not wait for another transaction, which may be an import of several minutes: without the lock the cluster is
# queued for the periodic task. There are 64 locks for each namespace, so that a transaction that creates many clusters
# does not exhaust the server's lock table.
ENSURE_CLUSTER_SQL = f"""
CREATE OR REPLACE FUNCTION knowledge_ensure_cluster(space bigint, kind text, given varchar[]) RETURNS void
LANGUAGE plpgsql {PLANNER_SETTINGS} AS $$
DECLARE
    wanted bytea := knowledge_tags_key(given);
BEGIN
    PERFORM FROM knowledge_cluster WHERE {IS_WANTED_SQL} ORDER BY key;
    IF FOUND THEN
        RETURN;
    END IF;
    IF pg_try_advisory_xact_lock(hashtext('knowledge_cluster ' || space), get_byte(wanted, 0) & 63) THEN
        INSERT INTO knowledge_cluster (namespace_id, id, memory_type, tags, name, topics)
        VALUES (space, knowledge_uuid7(), kind, knowledge_normalize_tags(given), '', '{{}}')
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO knowledge_duecluster (namespace_id, memory_type, key) VALUES (space, kind, wanted);
    END IF;
END $$;
"""
# Deletes at once and not later, because tags may name a user who is being erased. Another transaction may be adding a
# memory with the same tags and still see the cluster, so the cluster is queued to be checked again. A namespace that
# is being deleted is left out: its queue rows would violate the foreign key. EXECUTE plans the deletion when it happens:
# no order can choose its index.
DROP_EMPTY_CLUSTER_SQL = f"""
CREATE OR REPLACE FUNCTION knowledge_drop_empty_cluster(space bigint, kind text, wanted bytea) RETURNS boolean
LANGUAGE plpgsql {PLANNER_SETTINGS} AS $$
DECLARE
    empty uuid;
BEGIN
    SELECT id INTO empty FROM knowledge_cluster
    WHERE {IS_WANTED_SQL} AND NOT is_explicit AND NOT EXISTS (
        SELECT FROM memories_memory
        WHERE namespace_id = space AND memory_type = kind AND knowledge_tags_key(tags) = wanted
          AND cardinality(tags) > 0
    )
    ORDER BY key FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE 'DELETE FROM knowledge_cluster WHERE namespace_id = $1 AND id = $2' USING space, empty;
    IF EXISTS (SELECT FROM sessions_app_namespace WHERE id = space) THEN
        INSERT INTO knowledge_duecluster (namespace_id, memory_type, key) VALUES (space, kind, wanted);
    END IF;
    RETURN true;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0007_namespace_in_keys")]
    operations = [
        migrations.RunSQL(ENSURE_CLUSTER_SQL, EARLIER_ENSURE_SQL),
        migrations.RunSQL(DROP_EMPTY_CLUSTER_SQL, EARLIER_DROP_SQL),
    ]
