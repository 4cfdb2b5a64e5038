"""The tables that are divided by namespace, in a fresh database: their keys, columns and references."""

import re

import pytest
from django.db import connection

from memory_site.core.db.divided import list_divided_models, list_divided_tables, list_key_columns
from memory_site.core.db.ids import uuid7

pytestmark = pytest.mark.django_db
DIVIDED_TABLES = list_divided_tables()
#: Keys are looked up before their namespace is known.
UNDIVIDED_TABLES = {"sessions_app_apikey"}

SELECT_TABLES_WITH_NAMESPACE_SQL = """
SELECT relname, attnum FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attname = 'namespace_id'
"""
SELECT_KEYS_SQL = """
SELECT relname, indisprimary, ARRAY(
    SELECT pg_get_indexdef(indexrelid, place, false) FROM generate_series(1, indnkeyatts) place
)
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE indisunique AND relname = ANY(%s)
"""
SELECT_REFERENCES_SQL = """
SELECT conname, ARRAY(
    SELECT attname FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
    JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place
), convalidated
FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s) AND confrelid::regclass::text = ANY(%s)
"""


@pytest.fixture
def never_filled() -> None:
    """Tables and indexes as those of a new installation, whatever other tests and autovacuum have left in them."""
    connection.cursor().execute(f"TRUNCATE {', '.join(DIVIDED_TABLES)} CASCADE")


def fetch_rows(sql: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def test_every_table_with_a_namespace_is_divided_except_those_that_say_why():
    tables = dict(fetch_rows(SELECT_TABLES_WITH_NAMESPACE_SQL))
    assert sorted(tables.keys() - UNDIVIDED_TABLES) == DIVIDED_TABLES


def test_the_namespace_is_the_first_column_of_a_new_installation():
    tables = dict(fetch_rows(SELECT_TABLES_WITH_NAMESPACE_SQL))
    assert {table: tables[table] for table in DIVIDED_TABLES} == dict.fromkeys(DIVIDED_TABLES, 1)


def test_primary_keys_begin_with_the_namespace():
    keys = {table: columns for table, is_primary, columns in fetch_rows(SELECT_KEYS_SQL, DIVIDED_TABLES) if is_primary}
    assert keys == {model._meta.db_table: list_key_columns(model) for model in list_divided_models()}


def test_unique_keys_begin_with_the_namespace():
    keys = fetch_rows(SELECT_KEYS_SQL, DIVIDED_TABLES)
    assert len(keys) > len(DIVIDED_TABLES)
    assert [key for key in keys if key[2][0] != "namespace_id"] == []


def test_references_between_divided_tables_begin_with_the_namespace():
    references = fetch_rows(SELECT_REFERENCES_SQL, DIVIDED_TABLES, DIVIDED_TABLES)
    assert len(references) == 15
    assert [name for name, columns, is_valid in references if columns[0] != "namespace_id" or not is_valid] == []


SELECT_REFERENCED_KEYS_SQL = """
SELECT DISTINCT confrelid::regclass::text, conindid::regclass::text, ARRAY(
    SELECT format('%%I = $%%s', attname, place) FROM unnest(confkey) WITH ORDINALITY AS key (number, place)
    JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place
)
FROM pg_constraint WHERE contype = 'f' AND confrelid::regclass::text = ANY(%s) AND cardinality(confkey) = 2
"""


def test_the_plan_of_a_reference_that_is_made_while_tables_are_empty_uses_the_key(never_filled):
    """Of equally cheap indexes the planner takes the newest. A new index that begins with the namespace is one of
    them: then rebuild the primary key after it, or plans cached by a new installation read a whole namespace."""
    execute_sql = connection.cursor().execute
    execute_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    execute_sql("SET LOCAL enable_seqscan = off")
    keys = fetch_rows(SELECT_REFERENCED_KEYS_SQL, DIVIDED_TABLES)
    assert len(keys) == 4
    for table, index, conditions in keys:
        execute_sql(f"PREPARE reference AS SELECT 1 FROM ONLY {table} WHERE {' AND '.join(conditions)} FOR KEY SHARE")
        plan = fetch_rows(f"EXPLAIN EXECUTE reference (1, '{uuid7()}')")
        assert f"using {index} " in "".join(line for (line,) in plan)
        execute_sql("DEALLOCATE reference")


def test_a_cluster_is_looked_up_by_its_key_whenever_the_plan_was_made(never_filled):
    ((body, settings),) = fetch_rows("SELECT prosrc, proconfig FROM pg_proc WHERE proname = 'knowledge_ensure_cluster'")
    lookup = re.search(r"PERFORM (FROM knowledge_cluster .*? ORDER BY key);", body, re.DOTALL)[1]
    for number, name in enumerate(("space", "kind", "wanted"), start=1):
        lookup = re.sub(rf"\b{name}\b", f"${number}", lookup)
    execute_sql = connection.cursor().execute
    for setting in settings:
        execute_sql(f"SET LOCAL {setting}")
    execute_sql(f"PREPARE wanted (bigint, text, bytea) AS SELECT {lookup}")
    plan = fetch_rows("EXPLAIN EXECUTE wanted (1, 'agent', '')")
    execute_sql("DEALLOCATE wanted")
    assert "using cluster_is_kept_once " in "".join(line for (line,) in plan)
