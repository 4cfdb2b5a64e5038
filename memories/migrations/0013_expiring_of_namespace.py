"""Expired memories are deleted namespace by namespace."""

from django.db import migrations, models
from django.db.models import F, Q

from memory_site.core.db.migrations import replace_index


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("memories", "0012_namespace_sizes")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                replace_index(
                    "memories_memory",
                    "memory_expiring",
                    "(namespace_id, expires_at) WHERE expires_at IS NOT NULL",
                    "(expires_at) WHERE expires_at IS NOT NULL",
                ),
            ],
            state_operations=[
                migrations.RemoveIndex("memory", "memory_expiring"),
                migrations.AddIndex(
                    "memory",
                    models.Index(
                        F("namespace"), F("expires_at"), condition=Q(expires_at__isnull=False), name="memory_expiring"
                    ),
                ),
            ],
        ),
    ]
