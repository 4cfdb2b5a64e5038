"""Every trigger of the database, in one place. memories/triggers.py says of each what it keeps true and why it is not
application code; tests/memories/test_triggers.py compares that list with the database.

Triggers of one event fire in the order of their names.

Statement triggers read a transition table, so that a statement of a thousand rows costs one call. Triggers on UPDATE
are row triggers instead: PostgreSQL evaluates their WHEN before it calls anything, and nearly no update changes the
columns that they name.

Most functions set plan_cache_mode, because the application's connections plan every statement again for its own
parameters: a cached plan takes the counting of a memory from 0.05 to 0.035 ms.
"""

from django.db import migrations

# The queue of memories to embed.
QUEUE_INSERTED_SQL = """
CREATE FUNCTION memories_queue_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
    SELECT id, namespace_id, now(), char_length(content) FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_queue_inserted
AFTER INSERT ON memories_memory REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION memories_queue_inserted();
"""
QUEUE_EDITED_SQL = """
CREATE FUNCTION memories_queue_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
    VALUES (NEW.id, NEW.namespace_id, now(), char_length(NEW.content))
    ON CONFLICT (memory_id) DO UPDATE
    SET due_at = excluded.due_at, characters = excluded.characters, attempts = 0, error = '';
    RETURN NULL;
END $$;

CREATE TRIGGER memories_queue_edited
AFTER UPDATE OF content ON memories_memory FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
EXECUTE FUNCTION memories_queue_edited();
"""

# The columns of a memory that its embeddings repeat.
SYNC_EMBEDDING_LABELS_SQL = """
CREATE FUNCTION memories_sync_embedding_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE memories_embedding
    SET namespace_id = NEW.namespace_id, user_id = NEW.user_id, memory_type = NEW.memory_type, repo_id = NEW.repo_id,
        expires_at = NEW.expires_at
    WHERE memory_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_sync_embedding_labels
AFTER UPDATE OF namespace_id, user_id, memory_type, repo_id, expires_at ON memories_memory
FOR EACH ROW
WHEN ((OLD.namespace_id, OLD.user_id, OLD.memory_type, OLD.repo_id, OLD.expires_at)
      IS DISTINCT FROM (NEW.namespace_id, NEW.user_id, NEW.memory_type, NEW.repo_id, NEW.expires_at))
EXECUTE FUNCTION memories_sync_embedding_labels();
"""

# Relationships that waited for an entity.
RESOLVE_INSERTED_ENTITIES_SQL = """
CREATE FUNCTION graph_resolve_inserted_entities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE entity_id IS NOT NULL) THEN
        PERFORM graph_resolve_pending(ARRAY(SELECT id FROM added WHERE entity_id IS NOT NULL));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER graph_resolve_inserted_entities AFTER INSERT ON memories_memory REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION graph_resolve_inserted_entities();
"""
RESOLVE_CHANGED_ENTITY_SQL = """
CREATE FUNCTION graph_resolve_changed_entity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graph_resolve_pending(ARRAY[NEW.id]);
    RETURN NULL;
END $$;

CREATE TRIGGER graph_resolve_changed_entity
AFTER UPDATE OF namespace_id, user_id, entity_system, entity_id ON memories_memory
FOR EACH ROW
WHEN (NEW.entity_id IS NOT NULL
      AND (OLD.namespace_id, OLD.owner, OLD.entity_system, OLD.entity_id)
          IS DISTINCT FROM (NEW.namespace_id, NEW.owner, NEW.entity_system, NEW.entity_id))
EXECUTE FUNCTION graph_resolve_changed_entity();
"""
# The entity may be there already.
RESOLVE_INSERTED_PENDING_SQL = """
CREATE FUNCTION graph_resolve_inserted_pending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graph_resolve_pending(array_remove(ARRAY(
        SELECT (
            SELECT entity.id FROM memories_memory entity
            WHERE entity.namespace_id = added.namespace_id
              AND (entity.user_id = added.owner OR (added.owner = '' AND entity.user_id IS NULL))
              AND entity.entity_system = added.entity_system AND entity.entity_id = added.entity_id
        ) FROM added
    ), NULL));
    RETURN NULL;
END $$;

CREATE TRIGGER graph_resolve_inserted_pending AFTER INSERT ON graph_pendingrelationship REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION graph_resolve_inserted_pending();
"""

# Clusters of memories with the same type and tags.
CLUSTER_INSERTED_MEMORIES_SQL = """
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
UNCLUSTER_DELETED_MEMORIES_SQL = """
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
RECLUSTER_CHANGED_MEMORY_SQL = """
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
# The lock that knowledge_ensure_cluster tries for. Inserts of other origin (an import, a cluster that a caller
# describes) wait for it.
LOCK_NEW_CLUSTER_SQL = """
CREATE FUNCTION knowledge_lock_new_cluster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtext('knowledge_cluster ' || NEW.namespace_id), get_byte(knowledge_tags_key(NEW.tags), 0) & 63);
    RETURN NEW;
END $$;

CREATE TRIGGER knowledge_lock_new_cluster BEFORE INSERT ON knowledge_cluster
FOR EACH ROW EXECUTE FUNCTION knowledge_lock_new_cluster();
"""

# The totals of each user, counted as changes: {rows} is the column of the totals, {row} its singular, {table} the table
# that is counted, {user} its column that decides the owner. Rows without an owner are not counted.
COUNT_INSERTED_SQL = """
CREATE FUNCTION users_count_inserted_{rows}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE owner <> '') THEN
        INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
        SELECT namespace_id, owner, count(*) FROM added WHERE owner <> '' GROUP BY namespace_id, owner;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_inserted_{rows} AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION users_count_inserted_{rows}();
"""
# The join leaves out a namespace that is being deleted: it has no totals any more.
COUNT_DELETED_SQL = """
CREATE FUNCTION users_count_deleted_{rows}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE owner <> '') THEN
        INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
        SELECT namespace_id, owner, -count(*)
        FROM removed JOIN sessions_app_namespace namespace ON namespace.id = namespace_id
        WHERE owner <> '' GROUP BY namespace_id, owner;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_deleted_{rows} AFTER DELETE ON {table} REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION users_count_deleted_{rows}();
"""
COUNT_MOVED_SQL = """
CREATE FUNCTION users_count_moved_{row}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
    SELECT * FROM (VALUES (OLD.namespace_id, OLD.owner, -1), (NEW.namespace_id, NEW.owner, 1)) AS change (_, owner, _)
    WHERE owner <> '';
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_moved_{row} AFTER UPDATE OF namespace_id, {user} ON {table}
FOR EACH ROW WHEN ((OLD.namespace_id, OLD.owner) IS DISTINCT FROM (NEW.namespace_id, NEW.owner))
EXECUTE FUNCTION users_count_moved_{row}();
"""
COUNT_TRUNCATED_SQL = """
CREATE FUNCTION users_count_truncated_{rows}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
    SELECT namespace_id, user_id, -sum({rows}) FROM graph_usertotal
    GROUP BY namespace_id, user_id HAVING sum({rows}) <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_truncated_{rows} AFTER TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION users_count_truncated_{rows}();
"""
MEMORIES = {"table": "memories_memory", "rows": "memories", "row": "memory", "user": "user_id"}
RELATIONSHIPS = {"table": "graph_relationship", "rows": "relationships", "row": "relationship", "user": "owner"}


def trigger(name: str, table: str, sql: str) -> migrations.RunSQL:
    """Create a trigger and its function, which have the same name."""
    return migrations.RunSQL(sql, f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();")


def user_count_triggers(names: dict[str, str]) -> list[migrations.RunSQL]:
    table, rows, row = names["table"], names["rows"], names["row"]
    return [
        trigger(f"users_count_inserted_{rows}", table, COUNT_INSERTED_SQL.format(**names)),
        trigger(f"users_count_deleted_{rows}", table, COUNT_DELETED_SQL.format(**names)),
        trigger(f"users_count_moved_{row}", table, COUNT_MOVED_SQL.format(**names)),
        trigger(f"users_count_truncated_{rows}", table, COUNT_TRUNCATED_SQL.format(**names)),
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("memories", "0003_foreign_keys"),
        ("graph", "0004_user_statistics"),
        ("knowledge", "0004_cluster_functions"),
    ]
    operations = [
        trigger("memories_queue_inserted", "memories_memory", QUEUE_INSERTED_SQL),
        trigger("memories_queue_edited", "memories_memory", QUEUE_EDITED_SQL),
        trigger("memories_sync_embedding_labels", "memories_memory", SYNC_EMBEDDING_LABELS_SQL),
        trigger("graph_resolve_inserted_entities", "memories_memory", RESOLVE_INSERTED_ENTITIES_SQL),
        trigger("graph_resolve_changed_entity", "memories_memory", RESOLVE_CHANGED_ENTITY_SQL),
        trigger("graph_resolve_inserted_pending", "graph_pendingrelationship", RESOLVE_INSERTED_PENDING_SQL),
        trigger("knowledge_cluster_inserted_memories", "memories_memory", CLUSTER_INSERTED_MEMORIES_SQL),
        trigger("knowledge_uncluster_deleted_memories", "memories_memory", UNCLUSTER_DELETED_MEMORIES_SQL),
        trigger("knowledge_recluster_changed_memory", "memories_memory", RECLUSTER_CHANGED_MEMORY_SQL),
        trigger("knowledge_lock_new_cluster", "knowledge_cluster", LOCK_NEW_CLUSTER_SQL),
        *user_count_triggers(MEMORIES),
        *user_count_triggers(RELATIONSHIPS),
    ]
