"""The list of triggers is complete: it agrees with the migrated database and with the documentation."""

from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from memories.triggers import TRIGGERS, render_tables

# The bits of pg_trigger.tgtype: 1 row, 2 before, 4 insert, 8 delete, 16 update, 32 truncate, 64 instead of.
SELECT_TRIGGERS_SQL = """
SELECT tgname, tgrelid::regclass::text,
       CASE WHEN tgtype & 64 > 0 THEN 'INSTEAD OF' WHEN tgtype & 2 > 0 THEN 'BEFORE' ELSE 'AFTER' END,
       concat_ws(' OR ', CASE WHEN tgtype & 4 > 0 THEN 'INSERT' END, CASE WHEN tgtype & 8 > 0 THEN 'DELETE' END,
                 CASE WHEN tgtype & 16 > 0 THEN 'UPDATE' END, CASE WHEN tgtype & 32 > 0 THEN 'TRUNCATE' END),
       CASE WHEN tgtype & 1 > 0 THEN 'ROW' ELSE 'STATEMENT' END,
       ARRAY(SELECT attname::text FROM unnest(tgattr::int2[]) WITH ORDINALITY AS of_columns (number, place)
             JOIN pg_attribute ON attrelid = tgrelid AND attnum = number ORDER BY place),
       tgqual IS NOT NULL, tgfoid::regproc::text, tgenabled
FROM pg_trigger WHERE NOT tgisinternal
"""
# Those of an extension are its own affair.
SELECT_TRIGGER_FUNCTIONS_SQL = """
SELECT proname FROM pg_proc
WHERE prorettype = 'trigger'::regtype AND pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND classid = 'pg_proc'::regclass AND deptype = 'e')
"""
TRIGGER_PAGE = Path(settings.BASE_DIR) / "docs/architecture/triggers.md"


def fetch(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.mark.django_db
def test_the_list_and_the_database_have_the_same_triggers():
    listed = [
        (
            each.name,
            each.table,
            each.timing,
            each.event,
            each.level,
            list(each.columns),
            bool(each.condition),
            each.name,
            "O",  # enabled
        )
        for each in TRIGGERS
    ]
    assert sorted(fetch(SELECT_TRIGGERS_SQL)) == sorted(listed)


@pytest.mark.django_db
def test_every_trigger_function_of_the_database_belongs_to_a_listed_trigger():
    assert sorted(name for (name,) in fetch(SELECT_TRIGGER_FUNCTIONS_SQL)) == sorted({each.name for each in TRIGGERS})


def test_triggers_of_one_event_are_listed_in_the_order_in_which_they_fire():
    events: dict[tuple[str, ...], list[str]] = {}
    for each in TRIGGERS:
        events.setdefault((each.table, each.timing, each.event, each.level), []).append(each.name)
    assert all(names == sorted(names) for names in events.values())


def test_every_trigger_says_what_it_keeps_true_and_why_in_the_database():
    assert [each.name for each in TRIGGERS if not (each.keeps.endswith(".") and each.reason.endswith("."))] == []


def test_the_documentation_has_the_same_tables():
    """`python -m memories.triggers` prints what the page has to hold."""
    assert render_tables() in TRIGGER_PAGE.read_text()
