"""What a database contains, in figures that two databases share only if they have the same rows.

The hash of a table is the sum over its rows of `hashtextextended(ROW(columns)::text, 0)`, in any order: every column
counts, in the order of the table, and equal rows count as often as they are there. PostgreSQL writes the text under the
settings below (floats with all their digits, times in UTC). A vector is hashed as the base64 of its binary form, which
takes a third of the time of its text. A partitioned table is one table. Extensions' own tables are no contents.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

SESSION_SETTINGS = {
    "search_path": "pg_catalog",
    "row_security": "off",  # an error instead of rows that a policy hides
    "extra_float_digits": "1",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "jit": "off",
}
#: None of them may end a snapshot that is open as long as the dump takes. Some are unknown to older servers.
TIME_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
SET_SQL = "SELECT set_config(name, %s, true) FROM pg_settings WHERE name = %s"
PROBE_SQL = "SELECT hashtextextended('Memory Site', 0)::text"

IN_EXTENSION = "EXISTS (SELECT FROM pg_depend WHERE classid = '{}'::regclass AND objid = {}.oid AND deptype = 'e')"
OURS = "NOT (nspname ~ '^pg_' OR nspname = 'information_schema')"
LIST_TABLES_SQL = f"""
SELECT nspname, relname, relkind = 'p',
       coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(class.oid)), pg_table_size(class.oid))::bigint,
       ARRAY(
           SELECT CASE WHEN typname IN ('vector', 'halfvec', 'sparsevec')
                       THEN format('encode(%%s(%%I), ''base64'')', typsend, attname) ELSE format('%%I', attname) END
           FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
           WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
       )
FROM pg_class class JOIN pg_namespace space ON space.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't' AND {OURS}
    AND NOT {IN_EXTENSION.format("pg_class", "class")}
ORDER BY 1, 2
"""
HASH_SQL = 'SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text COLLATE "C", 0)), 0)::text FROM {} {}'
LIST_SEQUENCES_SQL = "SELECT format('%%s.%%s', schemaname, sequencename), last_value FROM pg_sequences ORDER BY 1"
COUNT_OBJECTS_SQL = f"""
SELECT 'indexes', count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE {OURS} AND indisvalid
UNION ALL
SELECT 'constraints', count(*) FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
    WHERE {OURS} AND contype <> 'n'
UNION ALL
SELECT 'triggers', count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE {OURS} AND NOT tgisinternal
UNION ALL
SELECT 'functions', count(*) FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
    WHERE {OURS} AND NOT {IN_EXTENSION.format("pg_proc", "pg_proc")}
UNION ALL
SELECT 'views', count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE {OURS} AND relkind IN ('v', 'm') AND NOT {IN_EXTENSION.format("pg_class", "pg_class")}
"""
# NOT VALID holds for new rows only; NOT NULL is a constraint of its own since PostgreSQL 18.
LIST_UNVALIDATED_SQL = f"""
SELECT format('%%s.%%s', conrelid::regclass, conname) FROM pg_constraint
JOIN pg_namespace ON pg_namespace.oid = connamespace WHERE {OURS} AND NOT convalidated ORDER BY 1
"""
LIST_INVALID_INDEXES_SQL = f"""
SELECT format('%%s.%%s', nspname, relname) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE {OURS} AND NOT (indisvalid AND indisready AND indislive) ORDER BY 1
"""
FIND_MIGRATIONS_SQL = f"""
SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE {OURS} AND relname = 'django_migrations' AND relkind = 'r'
"""
PGVECTOR_SQL = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"

Connection = psycopg.Connection[Any]
#: Gets the share of the bytes that were hashed, from 0 to 1.
OnShare = Callable[[float], None]


@dataclass(frozen=True)
class Table:
    """A table, or a partitioned one as a whole. `expressions` are SQL, one a column."""

    schema: str
    name: str
    is_partitioned: bool
    size_bytes: int
    expressions: list[str]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


def prepare_session(opened: Connection, *, parallel: bool) -> None:
    """Set, until the transaction ends, what the hashes depend on. Without `parallel` one process computes them."""
    chosen = SESSION_SETTINGS | dict.fromkeys(TIME_LIMITS, "0")
    if not parallel:
        chosen |= {"max_parallel_workers_per_gather": "0"}
    for name, value in chosen.items():
        opened.execute(SET_SQL, [value, name])


def list_tables(opened: Connection) -> list[Table]:
    """Return every table with rows of its own. The session must have been prepared."""
    return [Table(*row) for row in opened.execute(LIST_TABLES_SQL, []).fetchall()]


def read_contents(opened: Connection, on_share: OnShare = lambda share: None) -> dict[str, Any]:
    """Return the part of the manifest that a comparison needs, from a prepared session in a transaction."""
    tables = list_tables(opened)
    return {
        "pgvector": fetch_value(opened, PGVECTOR_SQL),
        "migrations": list_migrations(opened),
        "objects": dict(opened.execute(COUNT_OBJECTS_SQL, []).fetchall()),
        "unvalidated": [name for (name,) in opened.execute(LIST_UNVALIDATED_SQL, []).fetchall()],
        "hash_probe": fetch_value(opened, PROBE_SQL),
        "tables": hash_tables(opened, tables, on_share),
    }


def hash_tables(opened: Connection, tables: list[Table], on_share: OnShare) -> dict[str, dict[str, Any]]:
    found, done, total = {}, 0, max(sum(table.size_bytes for table in tables), 1)
    for table in tables:
        rows, digest = hash_table(opened, table)
        found[table.full_name] = {"rows": rows, "hash": digest}
        done += table.size_bytes
        on_share(done / total)
    return found


def hash_table(opened: Connection, table: Table) -> tuple[int, str]:
    """Return the number of rows, and the sum of their hashes as text: it has more digits than JSON's numbers."""
    only = sql.SQL("" if table.is_partitioned else "ONLY")  # tables that inherit are tables of their own
    columns = sql.SQL(", ".join(table.expressions))  # quoted by the server
    statement = sql.SQL(HASH_SQL).format(columns, only, sql.Identifier(table.schema, table.name))
    row = opened.execute(statement).fetchone()
    assert row is not None  # noqa: S101  (an aggregate has one row)
    return row[0], row[1]


def list_sequences(opened: Connection) -> dict[str, int | None]:
    """Return the last value of each sequence, None if it gave none yet. They belong to no snapshot."""
    return dict(opened.execute(LIST_SEQUENCES_SQL, []).fetchall())


def list_migrations(opened: Connection) -> list[str]:
    """Return the applied migrations, as app.name."""
    schema = fetch_value(opened, FIND_MIGRATIONS_SQL)
    if schema is None:
        return []
    statement = sql.SQL("SELECT app || '.' || name FROM {} ORDER BY 1").format(
        sql.Identifier(schema, "django_migrations")
    )
    return [name for (name,) in opened.execute(statement).fetchall()]


def fetch_value(opened: Connection, statement: str) -> Any:
    """Return the first column of the first row, None if there is no row."""
    row = opened.execute(statement, []).fetchone()
    return None if row is None else row[0]
