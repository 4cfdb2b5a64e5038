"""The unique key of clusters begins with the namespace."""

from django.db import migrations, models

from memory_site.core.db.migrations import build_unique_index, replace_unique

TABLE, NAME = "knowledge_cluster", "cluster_is_kept_once"


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY
    dependencies = [("knowledge", "0006_words_of_every_script")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                build_unique_index(TABLE, NAME, ("namespace_id", "memory_type", "key")),
                replace_unique(TABLE, NAME, "UNIQUE", ("key", "namespace_id", "memory_type")),
            ],
            state_operations=[
                migrations.RemoveConstraint("cluster", NAME),
                migrations.AddConstraint(
                    "cluster", models.UniqueConstraint(fields=("namespace", "memory_type", "key"), name=NAME)
                ),
            ],
        ),
    ]
