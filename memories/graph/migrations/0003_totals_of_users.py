from django.db import migrations

# Whoever adds or removes rows, and however, adds what that changes to the totals. Nothing of nobody's is counted.
# The plans are kept, because our connections plan every statement anew: 0.035 ms for a memory instead of 0.05.
# {rows} stands for the column of the totals, {table} for the table counted.
ADDED = """
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
# A namespace that is being deleted has no totals any more.
REMOVED = """
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
# For each row, because then the condition is asked before anything is called: nearly no update moves a row.
MOVED = """
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
EMPTIED = """
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
# Those that were there before.
COUNT = """
INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
SELECT namespace_id, owner, count(*) FROM {table} WHERE owner <> '' GROUP BY namespace_id, owner
"""
GONE = "DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();"
EVENTS = {
    "users_count_inserted_{rows}": ADDED,
    "users_count_deleted_{rows}": REMOVED,
    "users_count_moved_{row}": MOVED,
    "users_count_truncated_{rows}": EMPTIED,
}


def counting(table: str, row: str, rows: str, user: str) -> list[migrations.RunSQL]:
    names = {"table": table, "rows": rows, "row": row, "user": user}
    triggers = [
        migrations.RunSQL(sql.format(**names), GONE.format(table=table, name=name.format(**names)))
        for name, sql in EVENTS.items()
    ]
    return [*triggers, migrations.RunSQL(COUNT.format(**names), migrations.RunSQL.noop)]


class Migration(migrations.Migration):
    dependencies = [("graph", "0002_ends_of_one_user")]
    operations = [
        *counting("memories_memory", "memory", "memories", "user_id"),
        *counting("graph_relationship", "relationship", "relationships", "owner"),
    ]
