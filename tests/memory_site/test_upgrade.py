"""A store of the release before the keys began with the namespace, full of rows, becomes what a new installation is."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import DjangoDbBlocker

from memory_site.core.db.divided import list_divided_tables
from tests.databases import execute_when_free

FILL_SQL = (Path(__file__).parent / "earlier_store.sql").read_text().replace("{rows}", "200")
EARLIER = [
    ("graph", "0006_long_salesforce_ids"),
    ("ingestion", "0004_exclude_patterns"),
    ("insights", "0003_functions"),
    ("knowledge", "0006_words_of_every_script"),
    ("memories", "0008_words_of_every_script"),
    ("sessions_app", "0007_forgets_outdated_help"),
]
APPS = [app for app, _ in EARLIER]
# What pg_dump would say of the public schema, apart from the order of columns.
SELECT_SCHEMA_SQL = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname, pg_get_functiondef(pg_proc.oid) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
UNION ALL SELECT attrelid::regclass::text, attname,
                 concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm') AND attnum > 0 AND NOT attisdropped
"""

FUNCTIONS = "function"
Schema = set[tuple[str, str, str]]


@pytest.fixture
def store(db) -> Iterator[BaseDatabaseWrapper]:
    with make_database("earlier") as database:
        yield database


@pytest.fixture(scope="module")
def new_schema(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Schema:
    """That of a new installation. The tests' own database may have been partitioned and merged by other tests, after
    which PostgreSQL writes some definitions in other words."""
    with django_db_blocker.unblock(), make_database("new") as database:
        migrate(database, find_latest())
        return read_schema(database)


@contextmanager
def make_database(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Provide a connection to an empty database of its own."""
    options = connection.settings_dict["OPTIONS"] | {"pool": False}
    name = f"{connection.settings_dict['NAME']}_{alias}"
    execute_elsewhere(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    connections.databases[alias] = connection.settings_dict | {"NAME": name, "OPTIONS": options}
    try:
        connections[alias].connect()  # at once: later Django would refuse it, as a database of no test
        yield connections[alias]
    finally:
        connections[alias].close()
        del connections[alias], connections.databases[alias]
        execute_elsewhere(f"DROP DATABASE {name} WITH (FORCE)")


def execute_elsewhere(*statements: str) -> None:
    with connection._nodb_cursor() as cursor:
        for sql in statements:
            execute_when_free(cursor, sql)


def migrate(store: BaseDatabaseWrapper, targets: list[tuple[str, str]]) -> None:
    MigrationExecutor(store).migrate(targets)


def read_schema(of: BaseDatabaseWrapper) -> Schema:
    with of.cursor() as cursor:
        cursor.execute(SELECT_SCHEMA_SQL)
        return {row for row in cursor.fetchall() if row[0].startswith((FUNCTIONS, *APPS))}


def count_rows(store: BaseDatabaseWrapper, tables: Iterable[str]) -> dict[str, int]:
    counts = {}
    with store.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
    return counts


def find_latest() -> list[tuple[str, str]]:
    return [leaf for leaf in MigrationExecutor(connection).loader.graph.leaf_nodes() if leaf[0] in APPS]


def test_a_full_store_has_the_schema_of_a_new_one_and_all_its_rows_and_goes_back(store, new_schema):
    migrate(store, EARLIER)
    with store.cursor() as cursor:
        cursor.execute(FILL_SQL)
    tables = sorted({*list_divided_tables()} & {*store.introspection.table_names()})
    earlier, rows = read_schema(store), count_rows(store, tables)
    assert len(tables) == 23
    assert min(rows.values()) > 0

    migrate(store, find_latest())
    assert read_schema(store) == new_schema
    assert count_rows(store, tables) == rows
    with store.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sessions_app_idempotentanswer WHERE api_key_id <> 'key' || namespace_id")
        assert cursor.fetchone() == (0,)

    migrate(store, EARLIER)
    assert read_schema(store) == earlier
    assert count_rows(store, tables) == rows


def test_a_migration_that_was_killed_before_it_was_noted_runs_again(store, new_schema):
    migrate(store, EARLIER)
    for migration, _ in MigrationExecutor(store).migration_plan(find_latest()):
        if not migration.atomic:
            target = (migration.app_label, migration.name)
            migrate(store, [target])
            MigrationRecorder(store).record_unapplied(*target)
            migrate(store, [target])
    migrate(store, find_latest())
    assert read_schema(store) == new_schema
