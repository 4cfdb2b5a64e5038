"""The triggers that keep versions of memories, for migrations: one that adds a column to Memory runs `keep_columns`.

Those on memories are row triggers. Storing a memory is an upsert, and fires each statement trigger on UPDATE whether it
updates something or not; a row trigger's columns and condition are looked at before anything is called. A row at a time
also bounds the memory that the deletion of a million takes.
"""

from collections.abc import Sequence

from django.db import migrations

#: Columns of memories_memory whose change makes a version, at the first release of this app.
FIRST_COLUMNS = (
    "content", "summary", "data", "metadata", "memory_type", "source_system", "user_id", "agent_id", "workflow_id",
    "repo_id", "session_id", "document_id", "importance", "confidence", "tags", "entity_system", "entity_id",
    "entity_type", "entity_name", "base_relevance", "created_at", "expires_at",
)  # fmt: skip
#: Those that were added later.
STATE_COLUMNS = ("state", "superseded_by")
KEY_COLUMNS = ("key",)
KEPT_COLUMNS = (*FIRST_COLUMNS, *STATE_COLUMNS, *KEY_COLUMNS)
#: Kept as well; a change of nothing else makes no version.
SILENT_COLUMNS = ("updated_at", "update_count", "last_updated")
#: Counters, and what PostgreSQL computes from the row or counts in it.
LEFT_OUT = ("access_count", "last_accessed_at", "last_seen_at", "revision", "owner", "content_hash", "search_vector")

INSERT_VERSION_SQL = """
    INSERT INTO history_memoryversion
        (namespace_id, memory_id, user_id, operation, row, expires_at, changed_at, changed_by, request_id, job_id)
    VALUES (
        OLD.namespace_id, OLD.id, OLD.user_id, '{operation}', jsonb_build_object({row}), {expires_at},
        clock_timestamp(),
        coalesce(nullif(current_setting('memory_site.actor', true), ''), 'database:' || session_user),
        coalesce(current_setting('memory_site.request_id', true), ''),
        nullif(current_setting('memory_site.job_id', true), '')::uuid
    );
"""
KEEP_CHANGED_SQL = """
CREATE OR REPLACE FUNCTION history_keep_changed_memory() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF current_setting('memory_site.history', true) = 'off' THEN
        RETURN NULL;
    END IF;
    {insert}
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER history_keep_changed_memory AFTER UPDATE OF {columns} ON memories_memory
FOR EACH ROW WHEN (({old}) IS DISTINCT FROM ({new}))
EXECUTE FUNCTION history_keep_changed_memory();
"""
# A condition is evaluated while the row is deleted. What a foreign key deletes has a depth then: chunks of a document,
# the memories of a namespace, the parts of a memory. A trigger's function itself is called after the statement.
IS_KEPT = """pg_trigger_depth() = 0 AND current_setting('memory_site.history', true) IS DISTINCT FROM 'off'
    AND (OLD.expires_at IS NULL OR OLD.expires_at > now())"""
KEEP_DELETED_SQL = f"""
CREATE OR REPLACE FUNCTION history_keep_deleted_memory() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    {{insert}}
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER history_keep_deleted_memory AFTER DELETE ON memories_memory
FOR EACH ROW WHEN ({IS_KEPT})
EXECUTE FUNCTION history_keep_deleted_memory();
"""
FORGET_DELETED_SQL = f"""
CREATE OR REPLACE FUNCTION history_forget_deleted_memory() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    DELETE FROM history_memoryversion WHERE namespace_id = OLD.namespace_id AND memory_id = OLD.id;
    DELETE FROM history_deletedpart WHERE namespace_id = OLD.namespace_id AND memory_id = OLD.id;
    DELETE FROM history_deletedpart WHERE namespace_id = OLD.namespace_id AND other_memory_id = OLD.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER history_forget_deleted_memory AFTER DELETE ON memories_memory
FOR EACH ROW WHEN (NOT ({IS_KEPT}))
EXECUTE FUNCTION history_forget_deleted_memory();
"""
# Foreign keys delete these rows or set a column to NULL, and then their triggers are called: after that of the memory.
# What is deleted by itself is no part of a deleted memory. Nothing is kept of a memory that is not.
KEEP_PART_SQL = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    kept jsonb := to_jsonb(OLD);
    memory uuid := kept ->> TG_ARGV[1];
    other uuid := {other};
BEGIN
    IF EXISTS (SELECT FROM sessions_app_namespace WHERE id = OLD.namespace_id) AND EXISTS (
        SELECT FROM history_memoryversion
        WHERE namespace_id = OLD.namespace_id AND memory_id IN (memory, other) AND changed_at >= now()
            AND operation = 'delete'
    ) THEN
        INSERT INTO history_deletedpart (namespace_id, memory_id, other_memory_id, user_id, kind, row)
        VALUES (OLD.namespace_id, memory, other, nullif(kept ->> 'owner', ''), TG_ARGV[0], {row});
    END IF;
    RETURN NULL;
END $$;
"""
KEEP_ROW_SQL = KEEP_PART_SQL.format(name="history_keep_part", other="kept ->> TG_ARGV[2]", row="kept")
KEEP_REFERENCE_SQL = KEEP_PART_SQL.format(
    name="history_keep_reference", other="NULL", row="jsonb_build_object('id', kept ->> TG_ARGV[2])"
)
#: Table, kind of part, and the columns that name memories.
DELETED_ROWS = (
    ("graph_relationship", "relationship", ("from_memory_id", "to_memory_id")),
    ("graph_pendingrelationship", "pending relationship", ("from_memory_id",)),
    ("insights_insight", "insight", ("memory_id",)),
)
#: Table, kind of part, the column that is set to NULL, and the one that names the row.
CUT_REFERENCES = (
    ("insights_insight", "source of insight", "source_memory_id", "memory_id"),
    ("sessions_app_message", "message", "memory_id", "id"),
    ("ingestion_workflowexecution", "workflow execution", "memory_id", "id"),
)


def keep_columns(columns: Sequence[str], earlier: Sequence[str] = ()) -> migrations.RunSQL:
    """Have versions keep these columns of memories_memory; backwards the `earlier` ones."""
    return migrations.RunSQL(build_memory_triggers(columns), build_memory_triggers(earlier) if earlier else DROP_SQL)


def build_memory_triggers(columns: Sequence[str]) -> str:
    row = ", ".join(f"'{name}', OLD.{name}" for name in (*columns, *SILENT_COLUMNS))
    changed = INSERT_VERSION_SQL.format(operation="update", row=row, expires_at="NULL")
    deleted = INSERT_VERSION_SQL.format(operation="delete", row=row, expires_at="OLD.expires_at")
    old, new = (", ".join(f"{side}.{name}" for name in columns) for side in ("OLD", "NEW"))
    return (
        KEEP_CHANGED_SQL.format(insert=changed, columns=", ".join(columns), old=old, new=new)
        + KEEP_DELETED_SQL.format(insert=deleted)
        + FORGET_DELETED_SQL
    )


DROP_SQL = "".join(
    f"DROP TRIGGER {name} ON memories_memory; DROP FUNCTION {name}();"
    for name in ("history_keep_changed_memory", "history_keep_deleted_memory", "history_forget_deleted_memory")
)


def keep_parts() -> migrations.RunSQL:
    rows = [build_row_trigger(*each) for each in DELETED_ROWS]
    references = [build_reference_trigger(*each) for each in CUT_REFERENCES]
    drop = [
        *(f"DROP TRIGGER history_keep_part ON {table};" for table, *_ in DELETED_ROWS),
        *(f"DROP TRIGGER history_keep_reference ON {table};" for table, *_ in CUT_REFERENCES),
        "DROP FUNCTION history_keep_part(); DROP FUNCTION history_keep_reference();",
    ]
    return migrations.RunSQL("".join([KEEP_ROW_SQL, KEEP_REFERENCE_SQL, *rows, *references]), "".join(drop))


def build_row_trigger(table: str, kind: str, columns: Sequence[str]) -> str:
    arguments = ", ".join(f"'{argument}'" for argument in (kind, *columns))
    return f"""
CREATE OR REPLACE TRIGGER history_keep_part AFTER DELETE ON {table}
FOR EACH ROW WHEN (pg_trigger_depth() > 0)
EXECUTE FUNCTION history_keep_part({arguments});
"""


def build_reference_trigger(table: str, kind: str, column: str, key: str) -> str:
    return f"""
CREATE OR REPLACE TRIGGER history_keep_reference AFTER UPDATE OF {column} ON {table}
FOR EACH ROW WHEN (OLD.{column} IS NOT NULL AND NEW.{column} IS NULL AND pg_trigger_depth() > 0)
EXECUTE FUNCTION history_keep_reference('{kind}', '{column}', '{key}');
"""
