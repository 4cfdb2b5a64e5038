"""The hash of a table says whether two tables have the same rows, in any order."""

import random
from itertools import count

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_site.operations.backups.contents import hash_table, list_tables, prepare_session
from memory_site.operations.backups.database import get_parameters

pytestmark = pytest.mark.django_db  # otherwise there is no test database

COLUMNS = {
    "number": ("bigint", ["0", "1", "-9223372036854775808", "NULL"]),
    "label": ("text", ["''", "' '", "'a'", "'a,b'", "'\"a\"'", "'é'", "NULL"]),
    "share": (
        "float8",
        ["0.1", "0.1::float8 + 2e-17", "0.30000000000000004", "0.3", "'NaN'", "NULL"],
    ),
    "moment": ("timestamptz", ["'2026-11-30 02:00+00'", "'2026-11-30 02:00:00.000001+00'", "'infinity'", "NULL"]),
    "tags": ("text[]", ["'{}'", "'{a}'", "'{a,NULL}'", "'{\"a,b\"}'", "NULL"]),
    "data": ("jsonb", ["'{}'", "'{\"a\": 1}'", "'{\"a\": 1.0}'", "'null'", "NULL"]),
    "digest": ("bytea", ["''", "'\\x00'", "'\\x0000'", "NULL"]),
    "near": ("halfvec(3)", ["'[1,2,3]'", "'[1,2,3.002]'", "'[3,2,1]'", "NULL"]),
    "words": ("tsvector", ["''", "'a'", "'a:1'", "NULL"]),
}
NAMES = count()


@pytest.fixture(scope="module")
def opened(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        parameters = get_parameters(connection.settings_dict["NAME"])
    with psycopg.connect(**parameters) as opened:
        prepare_session(opened, parallel=False)
        yield opened
        opened.rollback()


def hash_rows(opened, rows: list[tuple[str, ...]]) -> tuple[int, str]:
    """Hash a table of these rows, inserted in this order."""
    name = f"backup_hash_{next(NAMES)}"
    columns = ", ".join(f"{column} {kind}" for column, (kind, _) in COLUMNS.items())
    opened.execute("SET LOCAL search_path = public, pg_catalog")
    opened.execute(f"CREATE TABLE {name} ({columns})")
    if rows:
        opened.execute(f"INSERT INTO {name} VALUES " + ", ".join(f"({', '.join(row)})" for row in rows))
    opened.execute("SET LOCAL search_path = pg_catalog")
    (table,) = [each for each in list_tables(opened) if each.name == name]
    try:
        return hash_table(opened, table)
    finally:
        opened.execute(f"DROP TABLE public.{name}")


ROWS = st.lists(st.tuples(*(st.sampled_from(values) for _, values in COLUMNS.values())), max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(opened, rows, seed):
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert hash_rows(opened, rows) == hash_rows(opened, shuffled)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_value_of_every_column_matters(opened, column):
    first = {name: values[0] for name, (_, values) in COLUMNS.items()}
    found = [hash_rows(opened, [tuple((first | {column: value}).values())]) for value in COLUMNS[column][1]]
    assert len(set(found)) == len(found)


def test_a_row_counts_as_often_as_it_is_there(opened):
    row = tuple(values[0] for _, values in COLUMNS.values())
    assert hash_rows(opened, []) == (0, "0")
    assert len({hash_rows(opened, [row] * number) for number in range(4)}) == 4


def test_values_that_change_places_are_noticed(opened):
    one, two = (tuple(values[number] for _, values in COLUMNS.values()) for number in (0, 1))
    swapped = (one[0], two[1], *one[2:]), (two[0], one[1], *two[2:])
    assert hash_rows(opened, [one, two]) != hash_rows(opened, list(swapped))


def test_a_partitioned_table_is_one_and_the_partition_does_not_matter(opened):
    partition = "CREATE TABLE public.{} PARTITION OF public.divided "
    found = []
    for by, parts in {
        "PARTITION BY HASH (number)": [f"FOR VALUES WITH (MODULUS 2, REMAINDER {rest})" for rest in (0, 1)],
        "PARTITION BY LIST (number)": ["DEFAULT"],
        "": [],
    }.items():
        opened.execute(f"CREATE TABLE public.divided (number bigint) {by}")
        for number, part in enumerate(parts):
            opened.execute(partition.format(f"divided_{number}") + part)
        opened.execute("INSERT INTO public.divided SELECT generate_series(1, 50)")
        (table,) = [each for each in list_tables(opened) if each.name.startswith("divided")]
        assert (table.name, table.size_bytes > 0) == ("divided", True)
        found.append(hash_table(opened, table))
        opened.execute("DROP TABLE public.divided")
    assert len(set(found)) == 1
    assert found[0][0] == 50


def test_rows_of_a_child_table_belong_to_the_child(opened):
    opened.execute("CREATE TABLE public.parent (number bigint); CREATE TABLE public.child () INHERITS (public.parent)")
    opened.execute("INSERT INTO public.child VALUES (1)")
    rows = {each.name: hash_table(opened, each)[0] for each in list_tables(opened) if each.name in ("parent", "child")}
    assert rows == {"parent": 0, "child": 1}
    opened.execute("DROP TABLE public.parent CASCADE")


def test_every_table_of_the_site_is_there_and_no_other(opened):
    names = {each.full_name for each in list_tables(opened)}
    with_models = set(connection.introspection.django_table_names())
    assert {f"public.{table}" for table in with_models} - names == set()
    assert "public.django_migrations" in names


def test_names_with_quotes_and_percent_signs_are_hashed(opened):
    opened.execute('CREATE TABLE public."odd ""% name" ("a ""%s{} b" text, "order" int)')
    opened.execute('INSERT INTO public."odd ""% name" VALUES (\'x\', 1)')
    (table,) = [each for each in list_tables(opened) if each.name.startswith("odd")]
    assert hash_table(opened, table)[0] == 1
    opened.execute('DROP TABLE public."odd ""% name"')
