"""The index for the foreign key of workflow executions begins with the namespace."""

from django.db import migrations, models
from django.db.models import F, Q

from memory_site.core.db.migrations import replace_index


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("ingestion", "0004_exclude_patterns")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                replace_index(
                    "ingestion_workflowexecution",
                    "execution_memory",
                    "(namespace_id, memory_id) WHERE memory_id IS NOT NULL",
                    "(memory_id) WHERE memory_id IS NOT NULL",
                )
            ],
            state_operations=[
                migrations.RemoveIndex("workflowexecution", "execution_memory"),
                migrations.AddIndex(
                    "workflowexecution",
                    models.Index(
                        F("namespace"), F("memory"), condition=Q(memory__isnull=False), name="execution_memory"
                    ),
                ),
            ],
        ),
    ]
