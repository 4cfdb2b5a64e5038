"""The caller's own key of a memory, and its revision, a number that each change moves.

Both columns have a constant default, which PostgreSQL keeps in its catalogue: no row is written. The default of new
rows is set after that, and 0019_unique_keys builds the indexes while readers and writers go on.
"""

from django.db import migrations, models
from django.db.models import Func, Q
from django.db.models.functions import Cast

ONE_IDENTITY_SQL = "key IS NULL OR entity_id IS NULL"
ONE_IDENTITY = models.CheckConstraint(condition=Q(key=None) | Q(entity_id=None), name="memory_with_a_key_is_no_entity")
# Every column but the counters, which move when a memory is read, and those that PostgreSQL computes.
COLUMNS = (
    "content", "summary", "data", "metadata", "memory_type", "source_system", "user_id", "agent_id", "workflow_id",
    "repo_id", "session_id", "document_id", "importance", "confidence", "tags", "entity_system", "entity_id",
    "entity_type", "entity_name", "base_relevance", "created_at", "expires_at", "state", "superseded_by", "key",
    "updated_at", "update_count", "last_updated",
)  # fmt: skip
COUNT_REVISIONS_SQL = f"""
CREATE FUNCTION memories_count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER memories_count_revision BEFORE UPDATE OF {", ".join(COLUMNS)} ON memories_memory
FOR EACH ROW EXECUTE FUNCTION memories_count_revision();
"""
DROP_COUNT_REVISIONS_SQL = """
DROP TRIGGER memories_count_revision ON memories_memory;
DROP FUNCTION memories_count_revision();
"""


class Migration(migrations.Migration):
    dependencies = [("memories", "0017_find_hidden")]
    operations = [
        migrations.AddField(
            "memory",
            "key",
            models.CharField(blank=True, db_collation="C", max_length=512, null=True),
        ),
        migrations.AddField("memory", "revision", models.BigIntegerField(db_default=0, editable=False)),
        migrations.AlterField(
            "memory",
            "revision",
            models.BigIntegerField(
                db_default=Cast(
                    Func(template="extract(epoch FROM clock_timestamp()) * 1000000"), models.BigIntegerField()
                ),
                editable=False,
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    f"ALTER TABLE memories_memory ADD CONSTRAINT {ONE_IDENTITY.name} CHECK ({ONE_IDENTITY_SQL})"
                    " NOT VALID",
                    f"ALTER TABLE memories_memory DROP CONSTRAINT {ONE_IDENTITY.name}",
                )
            ],
            state_operations=[migrations.AddConstraint("memory", ONE_IDENTITY)],
        ),
        migrations.RunSQL(COUNT_REVISIONS_SQL, DROP_COUNT_REVISIONS_SQL),
    ]
