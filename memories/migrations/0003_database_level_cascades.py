from django.db import migrations


def cascade(table: str, column: str, target: str) -> migrations.RunSQL:
    """A foreign key that PostgreSQL follows by itself, so that deleting is one statement however it is done."""
    name = f"{table}_{column}_cascade"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {target} (id) ON DELETE CASCADE",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_memory_and_embedding")]
    operations = [
        cascade("memories_memory", "namespace_id", "sessions_app_namespace"),
        cascade("memories_embedding", "memory_id", "memories_memory"),
        cascade("memories_dueembedding", "memory_id", "memories_memory"),
    ]
