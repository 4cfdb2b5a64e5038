from django.db import migrations

from memory_site.core.db.migrations import foreign_key


def memory_of_owner(table: str, column: str) -> migrations.RunSQL:
    """The memory is of the namespace and the owner that the row names; for two of them, of the same ones."""
    name = f"{table}_{column}_of_owner"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (namespace_id, owner, {column})"
        " REFERENCES memories_memory (namespace_id, owner, id) ON DELETE CASCADE",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("graph", "0001_relationships")]
    operations = [
        *[
            foreign_key(f"graph_{table}", "namespace_id", "sessions_app_namespace")
            for table in ("relationship", "pendingrelationship", "usertotal")
        ],
        memory_of_owner("graph_relationship", "from_memory_id"),
        memory_of_owner("graph_relationship", "to_memory_id"),
        memory_of_owner("graph_pendingrelationship", "from_memory_id"),
    ]
