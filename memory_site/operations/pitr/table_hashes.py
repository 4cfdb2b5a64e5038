"""Rows and hash of every table, in which the order of the rows does not matter."""

import psycopg
from psycopg.sql import SQL, Composed, Identifier

# Unlogged tables are empty after a recovery.
TABLES_SQL = """
SELECT schema.nspname, class.relname FROM pg_class class JOIN pg_namespace schema ON schema.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition AND class.relpersistence = 'p'
  AND schema.nspname NOT IN ('pg_catalog', 'information_schema') AND schema.nspname NOT LIKE 'pg\\_%'
ORDER BY 1, 2
"""
HASH_SQL = SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {table} t")
Contents = dict[str, tuple[int, str]]


def list_tables(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return schema and name of each table; a partitioned one stands for its partitions."""
    return connection.execute(TABLES_SQL).fetchall()


def hash_tables(connection: psycopg.Connection) -> Contents:
    """Return rows and hash of each table by its full name. Two equal tables have equal ones on one version of
    PostgreSQL."""
    return {".".join(table): hash_table(connection, table) for table in list_tables(connection)}


def hash_table(connection: psycopg.Connection, table: tuple[str, str]) -> tuple[int, str]:
    (row,) = connection.execute(HASH_SQL.format(table=Identifier(*table))).fetchall()
    return row


def build_lock(tables: list[tuple[str, str]]) -> Composed:
    """Return the statement that waits for writers of the tables and keeps new ones waiting; readers go on."""
    names = SQL(", ").join(Identifier(*table) for table in tables)
    return SQL("LOCK TABLE {names} IN SHARE MODE").format(names=names)
