"""The key of vectors and the index for the foreign key to documents begin with the namespace. The database's own keys are
changed together with the foreign keys to them, in the migrations of `ingestion`."""

from importlib import import_module

from django.db import migrations, models
from django.db.models import F, Q

from memory_site.core.db.migrations import replace_index

EARLIER = (
    import_module("memories.migrations.0004_triggers")
    .QUEUE_EDITED_SQL.partition("CREATE TRIGGER")[0]
    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
)
QUEUE_EDITED_SQL = EARLIER.replace("ON CONFLICT (memory_id)", "ON CONFLICT (namespace_id, memory_id)")


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("memories", "0009_queue_by_namespace")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                replace_index(
                    "memories_memory",
                    "memory_by_document",
                    "(namespace_id, document_id) WHERE document_id IS NOT NULL",
                    "(document_id) WHERE document_id IS NOT NULL",
                ),
                migrations.RunSQL(QUEUE_EDITED_SQL, EARLIER),
            ],
            state_operations=[
                migrations.RemoveIndex("memory", "memory_by_document"),
                migrations.AddIndex(
                    "memory",
                    models.Index(
                        F("namespace"),
                        F("document_id"),
                        condition=Q(document_id__isnull=False),
                        name="memory_by_document",
                    ),
                ),
                migrations.AlterField(
                    "embedding",
                    "pk",
                    models.CompositePrimaryKey(
                        "namespace_id",
                        "memory_id",
                        "model",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
            ],
        ),
    ]
