from django.db import migrations

# Whoever adds or removes rows, and however, adds what that changes to the totals. Nothing of nobody's is counted.
# The plans are kept, because our connections plan every statement anew: 0.035 ms for a memory instead of 0.05.
# {rows} stands for the column of the totals, {table} for the table counted.
ADDED = """
CREATE FUNCTION {table}_added_count() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE owner <> '') THEN
        INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
        SELECT namespace_id, owner, count(*) FROM added WHERE owner <> '' GROUP BY namespace_id, owner;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER {table}_added_count AFTER INSERT ON {table} REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION {table}_added_count();
"""
# A namespace that is being deleted has no totals any more.
REMOVED = """
CREATE FUNCTION {table}_removed_count() RETURNS trigger LANGUAGE plpgsql
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

CREATE TRIGGER {table}_removed_count AFTER DELETE ON {table} REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION {table}_removed_count();
"""
# For each row, because then the condition is asked before anything is called: nearly no update moves a row.
MOVED = """
CREATE FUNCTION {table}_moved_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
    SELECT * FROM (VALUES (OLD.namespace_id, OLD.owner, -1), (NEW.namespace_id, NEW.owner, 1)) AS change (_, owner, _)
    WHERE owner <> '';
    RETURN NULL;
END $$;

CREATE TRIGGER {table}_moved_counts AFTER UPDATE OF namespace_id, {user} ON {table}
FOR EACH ROW WHEN ((OLD.namespace_id, OLD.owner) IS DISTINCT FROM (NEW.namespace_id, NEW.owner))
EXECUTE FUNCTION {table}_moved_counts();
"""
EMPTIED = """
CREATE FUNCTION {table}_emptied_count() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
    SELECT namespace_id, user_id, -sum({rows}) FROM graph_usertotal
    GROUP BY namespace_id, user_id HAVING sum({rows}) <> 0;
    RETURN NULL;
END $$;

CREATE TRIGGER {table}_emptied_count AFTER TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {table}_emptied_count();
"""
# Those that were there before.
COUNT = """
INSERT INTO graph_usertotal (namespace_id, user_id, {rows})
SELECT namespace_id, owner, count(*) FROM {table} WHERE owner <> '' GROUP BY namespace_id, owner
"""
GONE = "DROP TRIGGER {table}_{name} ON {table}; DROP FUNCTION {table}_{name}();"
EVENTS = {"added_count": ADDED, "removed_count": REMOVED, "moved_counts": MOVED, "emptied_count": EMPTIED}


def counting(table: str, rows: str, user: str) -> list[migrations.RunSQL]:
    names = {"table": table, "rows": rows, "user": user}
    triggers = [
        migrations.RunSQL(sql.format(**names), GONE.format(table=table, name=name)) for name, sql in EVENTS.items()
    ]
    return [*triggers, migrations.RunSQL(COUNT.format(**names), migrations.RunSQL.noop)]


class Migration(migrations.Migration):
    dependencies = [("graph", "0002_ends_of_one_user")]
    operations = [
        *counting("memories_memory", "memories", "user_id"),
        *counting("graph_relationship", "relationships", "owner"),
    ]
