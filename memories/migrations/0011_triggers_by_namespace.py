"""The statements of every trigger name the namespace, so that each reads and writes the rows of that namespace alone.

Where tables are distributed, no statement can join a transition table with a table of ours. So its rows come out as
arrays, one of each column for each namespace, and go into the next statement as values.

A memory stays in its namespace: its key begins with it, and so do the references to it. No trigger waits for a move.
"""

from importlib import import_module

from django.db import migrations

TRIGGERS = import_module("memories.migrations.0004_triggers")
MEMORIES, RELATIONSHIPS = TRIGGERS.MEMORIES, TRIGGERS.RELATIONSHIPS
EARLIER_RESOLVE_PENDING_SQL = import_module("memories.graph.migrations.0007_namespace_in_keys").RESOLVE_PENDING_SQL

# The check that the memory exists is planned once too, and no longer for each row: a hundred memories are stored in an
# eighth less time. While the table is empty, all plans seem equally cheap; then the planner takes the newest index, which
# is that of the primary key (tests/core/test_divided_tables.py).
QUEUE_INSERTED_SQL = """
CREATE OR REPLACE FUNCTION memories_queue_inserted() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    space bigint;
    ids uuid[];
    lengths integer[];
BEGIN
    FOR space, ids, lengths IN
        SELECT namespace_id, array_agg(id), array_agg(char_length(content)) FROM added GROUP BY namespace_id
    LOOP
        INSERT INTO memories_dueembedding (namespace_id, memory_id, due_at, characters)
        SELECT space, memory.id, now(), memory.length FROM unnest(ids, lengths) AS memory (id, length);
    END LOOP;
    RETURN NULL;
END $$;
"""

SYNC_EMBEDDING_LABELS_SQL = """
CREATE OR REPLACE FUNCTION memories_sync_embedding_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE memories_embedding
    SET user_id = NEW.user_id, memory_type = NEW.memory_type, repo_id = NEW.repo_id, expires_at = NEW.expires_at
    WHERE namespace_id = NEW.namespace_id AND memory_id = NEW.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER memories_sync_embedding_labels
AFTER UPDATE OF user_id, memory_type, repo_id, expires_at ON memories_memory
FOR EACH ROW
WHEN ((OLD.user_id, OLD.memory_type, OLD.repo_id, OLD.expires_at)
      IS DISTINCT FROM (NEW.user_id, NEW.memory_type, NEW.repo_id, NEW.expires_at))
EXECUTE FUNCTION memories_sync_embedding_labels();
"""

RESOLVE_INSERTED_ENTITIES_SQL = """
CREATE OR REPLACE FUNCTION graph_resolve_inserted_entities() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    space bigint;
    entities uuid[];
BEGIN
    FOR space, entities IN
        SELECT namespace_id, array_agg(id) FROM added WHERE entity_id IS NOT NULL GROUP BY namespace_id
    LOOP
        PERFORM graph_resolve_pending(space, entities);
    END LOOP;
    RETURN NULL;
END $$;
"""
RESOLVE_CHANGED_ENTITY_SQL = """
CREATE OR REPLACE FUNCTION graph_resolve_changed_entity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM graph_resolve_pending(NEW.namespace_id, ARRAY[NEW.id]);
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER graph_resolve_changed_entity
AFTER UPDATE OF user_id, entity_system, entity_id ON memories_memory
FOR EACH ROW
WHEN (NEW.entity_id IS NOT NULL
      AND (OLD.owner, OLD.entity_system, OLD.entity_id)
          IS DISTINCT FROM (NEW.owner, NEW.entity_system, NEW.entity_id))
EXECUTE FUNCTION graph_resolve_changed_entity();
"""
# The entity may be there already.
RESOLVE_INSERTED_PENDING_SQL = """
CREATE OR REPLACE FUNCTION graph_resolve_inserted_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    space bigint;
    owners varchar[];
    systems varchar[];
    ids varchar[];
BEGIN
    FOR space, owners, systems, ids IN
        SELECT namespace_id, array_agg(owner), array_agg(entity_system), array_agg(entity_id)
        FROM added GROUP BY namespace_id
    LOOP
        PERFORM graph_resolve_pending(space, array_remove(ARRAY(
            SELECT (
                SELECT entity.id FROM memories_memory entity
                WHERE entity.namespace_id = space
                  AND (entity.user_id = named.owner OR (named.owner = '' AND entity.user_id IS NULL))
                  AND entity.entity_system = named.system AND entity.entity_id = named.id
            ) FROM unnest(owners, systems, ids) AS named (owner, system, id)
        ), NULL));
    END LOOP;
    RETURN NULL;
END $$;
"""

RECLUSTER_CHANGED_MEMORY_SQL = """
CREATE OR REPLACE TRIGGER knowledge_recluster_changed_memory AFTER UPDATE OF memory_type, tags ON memories_memory
FOR EACH ROW WHEN ((OLD.memory_type, OLD.tags) IS DISTINCT FROM (NEW.memory_type, NEW.tags))
EXECUTE FUNCTION knowledge_recluster_changed_memory();
"""

# Rows without an owner are not counted.
COUNT_INSERTED_SQL = """
CREATE OR REPLACE FUNCTION users_count_inserted_{rows}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    space bigint;
    owners varchar[];
    numbers bigint[];
BEGIN
    FOR space, owners, numbers IN
        SELECT namespace_id, array_agg(owner), array_agg(number) FROM (
            SELECT namespace_id, owner, count(*) AS number FROM added WHERE owner <> '' GROUP BY namespace_id, owner
        ) counted GROUP BY namespace_id
    LOOP
        INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
        SELECT space, total.owner, total.number FROM unnest(owners, numbers) AS total (owner, number);
    END LOOP;
    RETURN NULL;
END $$;
"""
# Leaves out a namespace that is being deleted: it has no totals any more.
COUNT_DELETED_SQL = """
CREATE OR REPLACE FUNCTION users_count_deleted_{rows}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    space bigint;
    owners varchar[];
    numbers bigint[];
BEGIN
    FOR space, owners, numbers IN
        SELECT namespace_id, array_agg(owner), array_agg(number) FROM (
            SELECT namespace_id, owner, -count(*) AS number FROM removed WHERE owner <> '' GROUP BY namespace_id, owner
        ) counted GROUP BY namespace_id
    LOOP
        IF EXISTS (SELECT FROM sessions_app_namespace WHERE id = space) THEN
            INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
            SELECT space, total.owner, total.number FROM unnest(owners, numbers) AS total (owner, number);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
"""
COUNT_MOVED_SQL = """
CREATE OR REPLACE FUNCTION users_count_moved_{row}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
    SELECT NEW.namespace_id, owner, number FROM (VALUES (OLD.owner, -1), (NEW.owner, 1)) AS change (owner, number)
    WHERE owner <> '';
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER users_count_moved_{row} AFTER UPDATE OF {user} ON {table}
FOR EACH ROW WHEN (OLD.owner IS DISTINCT FROM NEW.owner)
EXECUTE FUNCTION users_count_moved_{row}();
"""


def replace(sql: str, earlier: str) -> migrations.RunSQL:
    """Replace a trigger's function, or the trigger too."""
    return migrations.RunSQL(sql, earlier.replace("CREATE ", "CREATE OR REPLACE "))


def replace_user_counts(names: dict[str, str]) -> list[migrations.RunSQL]:
    pairs = (
        (COUNT_INSERTED_SQL, TRIGGERS.COUNT_INSERTED_SQL),
        (COUNT_DELETED_SQL, TRIGGERS.COUNT_DELETED_SQL),
        (COUNT_MOVED_SQL, TRIGGERS.COUNT_MOVED_SQL),
    )
    return [replace(sql.format(**names), earlier.format(**names)) for sql, earlier in pairs]


class Migration(migrations.Migration):
    dependencies = [
        ("memories", "0010_namespace_in_keys"),
        ("graph", "0008_functions_by_namespace"),
        ("knowledge", "0008_functions_by_namespace"),
    ]
    operations = [
        replace(QUEUE_INSERTED_SQL, TRIGGERS.QUEUE_INSERTED_SQL),
        replace(SYNC_EMBEDDING_LABELS_SQL, TRIGGERS.SYNC_EMBEDDING_LABELS_SQL),
        replace(RESOLVE_INSERTED_ENTITIES_SQL, TRIGGERS.RESOLVE_INSERTED_ENTITIES_SQL),
        replace(RESOLVE_CHANGED_ENTITY_SQL, TRIGGERS.RESOLVE_CHANGED_ENTITY_SQL),
        replace(RESOLVE_INSERTED_PENDING_SQL, TRIGGERS.RESOLVE_INSERTED_PENDING_SQL),
        replace(RECLUSTER_CHANGED_MEMORY_SQL, TRIGGERS.RECLUSTER_CHANGED_MEMORY_SQL),
        *replace_user_counts(MEMORIES),
        *replace_user_counts(RELATIONSHIPS),
        # Nothing calls it any more.
        migrations.RunSQL("DROP FUNCTION graph_resolve_pending(uuid[])", EARLIER_RESOLVE_PENDING_SQL),
    ]
