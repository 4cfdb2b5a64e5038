"""Operations of migrations, on tables that `distribute --partitions` has divided."""

import pytest
from django.db import connection
from django.db.migrations.state import ProjectState

from memory_site.core.db.migrations import replace_index

pytestmark = pytest.mark.django_db
CREATE_SQL = """
CREATE TABLE divided (namespace_id bigint, day date) PARTITION BY HASH (namespace_id);
CREATE TABLE divided_0 PARTITION OF divided FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE INDEX divided_by_day ON divided (day);
"""
SELECT_INDEXES_SQL = "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'divided%' ORDER BY tablename"


def list_indexed_columns() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_INDEXES_SQL)
        return [definition.partition("USING btree ")[2] for (definition,) in cursor.fetchall()]


def test_an_index_of_a_partitioned_table_is_replaced_on_every_partition_and_back():
    operation, state = replace_index("divided", "divided_by_day", "(namespace_id, day)", "(day)"), ProjectState()
    with connection.cursor() as cursor:
        cursor.execute(CREATE_SQL)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("memories", editor, state, state)
        assert list_indexed_columns() == ["(namespace_id, day)"] * 2
        operation.database_backwards("memories", editor, state, state)
    assert list_indexed_columns() == ["(day)"] * 2
