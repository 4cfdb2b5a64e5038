"""References that PostgreSQL follows by itself."""

from django.db import migrations

from memory_site.core.db.migrations import foreign_key


def memory_of_owner(table: str, column: str) -> migrations.RunSQL:
    """Add a reference to a memory of the row's own namespace and owner, so that both of its ends have the same."""
    name = f"{table}_{column}_of_owner"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (namespace_id, owner, {column})"
        " REFERENCES memories_memory (namespace_id, owner, id) ON DELETE CASCADE",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("graph", "0001_initial")]
    operations = [
        foreign_key("graph_relationship", "namespace_id", "sessions_app_namespace"),
        foreign_key("graph_pendingrelationship", "namespace_id", "sessions_app_namespace"),
        foreign_key("graph_usertotal", "namespace_id", "sessions_app_namespace"),
        memory_of_owner("graph_relationship", "from_memory_id"),
        memory_of_owner("graph_relationship", "to_memory_id"),
        memory_of_owner("graph_pendingrelationship", "from_memory_id"),
    ]
