"""A memory that is no insight any more has no row of insights, whatever changes its type."""

from django.db import migrations

FOLLOW_TYPE_SQL = """
CREATE FUNCTION insights_follow_type() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    DELETE FROM insights_insight WHERE namespace_id = NEW.namespace_id AND memory_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER insights_follow_type AFTER UPDATE OF memory_type ON memories_memory
FOR EACH ROW WHEN (OLD.memory_type = 'insight' AND NEW.memory_type <> 'insight')
EXECUTE FUNCTION insights_follow_type();
"""
DROP_FOLLOW_TYPE_SQL = """
DROP TRIGGER insights_follow_type ON memories_memory;
DROP FUNCTION insights_follow_type();
"""
# Of one that was replaced in the instant in which it became an insight.
DELETE_ORPHANS_SQL = """
DELETE FROM insights_insight insight USING memories_memory memory
WHERE memory.namespace_id = insight.namespace_id AND memory.id = insight.memory_id AND memory.memory_type <> 'insight'
"""


class Migration(migrations.Migration):
    dependencies = [("insights", "0005_drop_functions"), ("history", "0005_parts_of_deleted_memories")]
    operations = [
        migrations.RunSQL(FOLLOW_TYPE_SQL, DROP_FOLLOW_TYPE_SQL),
        migrations.RunSQL(DELETE_ORPHANS_SQL, migrations.RunSQL.noop),
    ]
