"""The state of a memory, and the memory that replaces it.

Both columns have a constant default, which PostgreSQL keeps in its catalogue: no row is written. 0017_find_hidden checks
the constraints and builds the indexes while readers and writers go on.
"""

from importlib import import_module

from django.db import migrations, models
from django.db.models import F, Q

STATES = ("active", "superseded", "pending", "quarantined")
CHECKS = {
    "memory_state_is_known": Q(state__in=STATES),
    "only_a_superseded_memory_has_a_successor": Q(superseded_by=None)
    | (Q(state="superseded") & ~Q(superseded_by=F("id"))),
}
CHECKS_SQL = {
    "memory_state_is_known": "state IN ('active', 'superseded', 'pending', 'quarantined')",
    "only_a_superseded_memory_has_a_successor": "superseded_by IS NULL"
    " OR (state = 'superseded' AND NOT (superseded_by = id AND superseded_by IS NOT NULL))",
}

EARLIER_QUEUE_INSERTED_SQL = import_module("memories.migrations.0011_triggers_by_namespace").QUEUE_INSERTED_SQL
QUEUE_INSERTED_SQL = EARLIER_QUEUE_INSERTED_SQL.replace(
    "FROM added GROUP BY", "FROM added WHERE state = 'active' GROUP BY"
)
EARLIER_QUEUE_EDITED_SQL = """
CREATE OR REPLACE TRIGGER memories_queue_edited
AFTER UPDATE OF content ON memories_memory FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
EXECUTE FUNCTION memories_queue_edited();
"""
QUEUE_EDITED_SQL = EARLIER_QUEUE_EDITED_SQL.replace(
    "(OLD.content IS DISTINCT FROM NEW.content)", "(OLD.content IS DISTINCT FROM NEW.content AND NEW.state = 'active')"
)
# A memory that becomes active again waits for a new vector: that of before would be one of many that no search may see.
FOLLOW_STATE_SQL = """
CREATE FUNCTION memories_follow_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'active' THEN
        INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
        VALUES (NEW.id, NEW.namespace_id, now(), char_length(NEW.content))
        ON CONFLICT (namespace_id, memory_id) DO NOTHING;
    ELSE
        DELETE FROM memories_embedding WHERE namespace_id = NEW.namespace_id AND memory_id = NEW.id;
        DELETE FROM memories_dueembedding WHERE namespace_id = NEW.namespace_id AND memory_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER memories_follow_state
AFTER UPDATE OF state ON memories_memory FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
EXECUTE FUNCTION memories_follow_state();
"""
DROP_FOLLOW_STATE_SQL = """
DROP TRIGGER memories_follow_state ON memories_memory;
DROP FUNCTION memories_follow_state();
"""


def add_check(name: str) -> migrations.SeparateDatabaseAndState:
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f"ALTER TABLE memories_memory ADD CONSTRAINT {name} CHECK ({CHECKS_SQL[name]}) NOT VALID",
                f"ALTER TABLE memories_memory DROP CONSTRAINT {name}",
            )
        ],
        state_operations=[
            migrations.AddConstraint("memory", models.CheckConstraint(condition=CHECKS[name], name=name))
        ],
    )


class Migration(migrations.Migration):
    dependencies = [("memories", "0015_embedding_queued_at")]
    operations = [
        migrations.AddField(
            "memory",
            "state",
            models.CharField(
                choices=[(state, state.capitalize()) for state in STATES],
                db_default="active",
                default="active",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AddField("memory", "superseded_by", models.UUIDField(editable=False, null=True)),
        *map(add_check, CHECKS),
        migrations.RunSQL(QUEUE_INSERTED_SQL, EARLIER_QUEUE_INSERTED_SQL),
        migrations.RunSQL(QUEUE_EDITED_SQL, EARLIER_QUEUE_EDITED_SQL),
        migrations.RunSQL(FOLLOW_STATE_SQL, DROP_FOLLOW_STATE_SQL),
    ]
