"""References that PostgreSQL follows by itself, and the free space of the memories table."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key

# Room in each page for a new version of a row: counting an access then touches no index (a HOT update). With full pages
# two thirds of these updates wrote every index again.
SET_FILLFACTOR_SQL = "ALTER TABLE memories_memory SET (fillfactor = 80)"
RESET_FILLFACTOR_SQL = "ALTER TABLE memories_memory RESET (fillfactor)"


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_initial")]
    operations = [
        foreign_key("memories_memory", "namespace_id", "sessions_app_namespace"),
        foreign_key("memories_embedding", "memory_id", "memories_memory"),
        foreign_key("memories_dueembedding", "memory_id", "memories_memory"),
        # Here and not in sessions_app, whose tables come first. A message outlives its memory.
        foreign_key("sessions_app_message", "memory_id", "memories_memory", "SET NULL"),
        foreign_key("memories_reembedding", "namespace_id", "sessions_app_namespace"),
        migrations.RunSQL(SET_FILLFACTOR_SQL, RESET_FILLFACTOR_SQL),
    ]
