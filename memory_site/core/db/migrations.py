"""Foreign keys whose ON DELETE PostgreSQL executes: a deletion is one statement, from whatever client."""

from django.db import migrations


def foreign_key(table: str, column: str, target: str, on_delete: str = "CASCADE") -> migrations.RunSQL:
    name = f"{table}_{column}_{on_delete.lower().replace(' ', '_')}"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {target} (id)"
        f" ON DELETE {on_delete}",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )
