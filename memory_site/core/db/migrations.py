"""Operations for what Django does not make: foreign keys whose ON DELETE PostgreSQL executes (a deletion is one
statement, from whatever client), keys that begin with the namespace, and indexes that are replaced while in use."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper


def foreign_key(table: str, column: str, target: str, on_delete: str = "CASCADE") -> migrations.RunSQL:
    return migrations.RunSQL(*foreign_key_sql(table, column, target, on_delete))


def drop_foreign_key(table: str, column: str, target: str, on_delete: str) -> migrations.RunSQL:
    """Drop what `foreign_key` added."""
    add, drop = foreign_key_sql(table, column, target, on_delete)
    return migrations.RunSQL(drop, add)


def foreign_key_sql(table: str, column: str, target: str, on_delete: str) -> tuple[str, str]:
    """Return the statements that add and drop the constraint."""
    name = name_foreign_key(table, column, on_delete)
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {target} (id)"
        f" ON DELETE {on_delete}",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


def name_foreign_key(table: str, column: str, on_delete: str) -> str:
    return f"{table}_{column}_{on_delete.lower().replace(' ', '_')}"


def namespaced_foreign_key(table: str, column: str, target: str, on_delete: str) -> migrations.RunSQL:
    """Add a reference to a row of the same namespace. It holds for new rows; `validate_constraint` checks the old ones.

    SET NULL sets the column and keeps the namespace.
    """
    name = name_foreign_key(table, column, on_delete)
    action = f"{on_delete} ({column})" if on_delete == "SET NULL" else on_delete
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (namespace_id, {column})"
        f" REFERENCES {target} (namespace_id, id) ON DELETE {action} NOT VALID",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


def validate_constraint(table: str, name: str) -> migrations.RunSQL:
    """Check the rows that were there before the constraint. Readers and writers go on."""
    return migrations.RunSQL(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}", migrations.RunSQL.noop)


def build_unique_index(table: str, name: str, columns: Iterable[str]) -> migrations.RunSQL:
    """Build the index of a later `replace_unique`. Readers and writers go on, so the migration is not atomic."""
    return migrations.RunSQL(
        [
            # For a second try: a build that was interrupted leaves an invalid index.
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}_new",
            f"CREATE UNIQUE INDEX CONCURRENTLY {name}_new ON {table} ({', '.join(columns)})",
        ],
        f"DROP INDEX CONCURRENTLY IF EXISTS {name}_new",
    )


def replace_unique(table: str, name: str, kind: str, earlier: Iterable[str]) -> migrations.RunSQL:
    """Let the index of `build_unique_index` take over from a PRIMARY KEY or UNIQUE constraint. Reads no row.

    Backwards the constraint on the `earlier` columns is built again, under a lock.
    """
    return migrations.RunSQL(
        f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {kind} USING INDEX {name}_new",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {kind} ({', '.join(earlier)})",
    )


class ConcurrentSQL(migrations.RunSQL):
    """Statements with CONCURRENTLY for a table. Where `distribute --partitions` has divided it PostgreSQL has no such
    statements: they are executed without it, and writers wait."""

    def __init__(self, table: str, sql: tuple[str, ...], reverse_sql: tuple[str, ...]) -> None:
        super().__init__(sql, reverse_sql)
        self.table = table

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        with self.adapt(schema_editor.connection):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        with self.adapt(schema_editor.connection):
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def adapt(self, connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
        return connection.execute_wrapper(execute_at_once) if is_partitioned(connection, self.table) else nullcontext()


def execute_at_once(execute: Callable, sql: str, *others: Any) -> Any:
    return execute(sql.replace(" CONCURRENTLY", ""), *others)


def is_partitioned(connection: BaseDatabaseWrapper, table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [table])
        return cursor.fetchone()[0]


def replace_index(table: str, name: str, definition: str, earlier: str) -> ConcurrentSQL:
    """Replace an index by one of another definition: "(columns) WHERE …". Readers and writers go on, and have either of
    the two, so the migration is not atomic."""
    return ConcurrentSQL(table, rebuild_index_sql(table, name, definition), rebuild_index_sql(table, name, earlier))


def rebuild_index_sql(table: str, name: str, definition: str, *, unique: bool = False) -> tuple[str, ...]:
    kind = "UNIQUE INDEX" if unique else "INDEX"
    return (
        *drop_index_sql(f"{name}_new"),
        f"CREATE {kind} CONCURRENTLY {name}_new ON {table} {definition}",
        *drop_index_sql(name),
        f"ALTER INDEX {name}_new RENAME TO {name}",
    )


def drop_index_sql(name: str) -> tuple[str]:
    return (f"DROP INDEX CONCURRENTLY IF EXISTS {name}",)


def add_index_concurrently(
    model: str, table: str, index: models.Index, definition: str
) -> migrations.SeparateDatabaseAndState:
    """Build an index while readers and writers go on. `definition` is the SQL behind the table: columns, condition.

    The migration is not atomic.
    """
    # Dropped first for a second try: a build that was interrupted leaves an invalid index.
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
    create = f"CREATE INDEX CONCURRENTLY {index.name} ON {table} {definition}"
    return migrations.SeparateDatabaseAndState(
        database_operations=[ConcurrentSQL(table, (drop, create), (drop,))],
        state_operations=[migrations.AddIndex(model, index)],
    )
