"""The tables that are divided by namespace, in a fresh database: their keys, columns and references."""

import pytest
from django.db import connection

from memory_site.core.db.divided import list_divided_models, list_divided_tables, list_key_columns

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
    assert len(references) == 12
    assert [name for name, columns, is_valid in references if columns[0] != "namespace_id" or not is_valid] == []
