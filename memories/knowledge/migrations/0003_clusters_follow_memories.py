from django.db import migrations

from memory_site.core.db.migrations import foreign_key

IN_ORDER = "ALTER TABLE knowledge_cluster ADD CONSTRAINT cluster_tags_are_in_order CHECK (tags = knowledge_normalize_tags(tags))"
IN_ANY_ORDER = "ALTER TABLE knowledge_cluster DROP CONSTRAINT cluster_tags_are_in_order"
# A cluster's memories, the newest first. The index of single tags would read every memory that has a common one.
BY_TAGS = """
CREATE INDEX memory_by_tags ON memories_memory (namespace_id, memory_type, knowledge_tags_key(tags), created_at DESC, id DESC)
WHERE cardinality(tags) > 0
"""
# The plans are kept, because our connections plan every statement anew. They may have been made while the tables were
# empty, when all ways seem equal to the planner: the sum leaves it only the index that begins with the key.
KEPT = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off"
# Nobody waits for another's transaction, which may be an import that lasts for minutes: who does not get the lock leaves
# it to a sweep. It is one of 64, so that a transaction with many clusters does not use up the locks there are.
NEED = f"""
CREATE FUNCTION knowledge_ensure_cluster(space bigint, kind text, given varchar[]) RETURNS void LANGUAGE plpgsql
{KEPT} AS $$
DECLARE
    wanted bytea := knowledge_tags_key(given);
BEGIN
    IF EXISTS (SELECT FROM knowledge_cluster WHERE key = wanted AND namespace_id + 0 = space AND memory_type = kind) THEN
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
# At once and not later, because tags may name a user who is being erased. Somebody may be adding a memory with the same
# tags, who still sees the cluster: so it is due to be looked at again. A namespace that is being deleted needs nothing.
LEAVE = f"""
CREATE FUNCTION knowledge_drop_empty_cluster(space bigint, kind text, wanted bytea) RETURNS boolean LANGUAGE plpgsql
{KEPT} AS $$
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
# Whoever writes, and however.
ADDED = """
CREATE FUNCTION knowledge_cluster_inserted_memories() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE cardinality(tags) > 0) THEN
        PERFORM knowledge_ensure_cluster(namespace_id, memory_type, tags)
        FROM (SELECT DISTINCT namespace_id, memory_type, tags FROM added WHERE cardinality(tags) > 0) kinds;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER knowledge_cluster_inserted_memories AFTER INSERT ON memories_memory REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION knowledge_cluster_inserted_memories();
"""
REMOVED = """
CREATE FUNCTION knowledge_uncluster_deleted_memories() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE cardinality(tags) > 0) THEN
        PERFORM knowledge_drop_empty_cluster(namespace_id, memory_type, knowledge_tags_key(tags))
        FROM (SELECT DISTINCT namespace_id, memory_type, tags FROM removed WHERE cardinality(tags) > 0) kinds;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER knowledge_uncluster_deleted_memories AFTER DELETE ON memories_memory REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION knowledge_uncluster_deleted_memories();
"""
# For each row, because then the condition is asked before anything is called: few updates change these columns.
CHANGED = """
CREATE FUNCTION knowledge_recluster_changed_memory() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF cardinality(NEW.tags) > 0 THEN
        PERFORM knowledge_ensure_cluster(NEW.namespace_id, NEW.memory_type, NEW.tags);
    END IF;
    IF cardinality(OLD.tags) > 0 THEN
        PERFORM knowledge_drop_empty_cluster(OLD.namespace_id, OLD.memory_type, knowledge_tags_key(OLD.tags));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER knowledge_recluster_changed_memory AFTER UPDATE OF namespace_id, memory_type, tags ON memories_memory
FOR EACH ROW
WHEN ((OLD.namespace_id, OLD.memory_type, OLD.tags) IS DISTINCT FROM (NEW.namespace_id, NEW.memory_type, NEW.tags))
EXECUTE FUNCTION knowledge_recluster_changed_memory();
"""
# Of memories that were there before.
CLUSTERS = """
INSERT INTO knowledge_cluster (id, namespace_id, memory_type, tags, name, topics)
SELECT uuidv7(), namespace_id, memory_type, knowledge_normalize_tags(tags), '', '{}'
FROM memories_memory WHERE cardinality(tags) > 0 GROUP BY namespace_id, memory_type, knowledge_normalize_tags(tags)
"""


def gone(name: str) -> str:
    return f"DROP TRIGGER {name} ON memories_memory; DROP FUNCTION {name}();"


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0002_clusters_patterns_preferences")]
    operations = [
        *[
            foreign_key(f"knowledge_{table}", "namespace_id", "sessions_app_namespace")
            for table in ("cluster", "duecluster", "pattern", "preference")
        ],
        migrations.RunSQL(IN_ORDER, IN_ANY_ORDER),
        migrations.RunSQL(BY_TAGS, "DROP INDEX memory_by_tags"),
        migrations.RunSQL(CLUSTERS, migrations.RunSQL.noop),
        migrations.RunSQL(NEED, "DROP FUNCTION knowledge_ensure_cluster(bigint, text, varchar[])"),
        migrations.RunSQL(LEAVE, "DROP FUNCTION knowledge_drop_empty_cluster(bigint, text, bytea)"),
        migrations.RunSQL(ADDED, gone("knowledge_cluster_inserted_memories")),
        migrations.RunSQL(REMOVED, gone("knowledge_uncluster_deleted_memories")),
        migrations.RunSQL(CHANGED, gone("knowledge_recluster_changed_memory")),
    ]
