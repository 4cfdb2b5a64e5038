"""What PostgreSQL reports: damaged pages, transactions, abandoned slots, a failing archive."""

import pytest
from django.db import connection

from memory_site.operations.health import integrity, wal
from memory_site.operations.health.integrity import check_integrity
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.wal import check_archiver, check_wal

pytestmark = pytest.mark.django_db


def test_a_sound_server_is_healthy():
    assert check_integrity()[0] is HealthStatus.HEALTHY
    assert check_wal() == (HealthStatus.HEALTHY, "No slot keeps it, and it is not archived.")


def test_damaged_pages_are_unhealthy(monkeypatch):
    counted = "SELECT 'on', 3, timestamptz '2026-11-30 10:00+00'"
    monkeypatch.setattr(integrity, "SELECT_FAILURES_SQL", counted)
    status, message, mend = check_integrity()
    assert (status, message) == (
        HealthStatus.UNHEALTHY,
        "3 damaged pages were read, the last one at 2026-11-30 10:00 UTC.",
    )
    assert mend.startswith("python manage.py maintain --check-pages")


@pytest.mark.parametrize(
    ("age", "status"),
    [(10**9 - 1, HealthStatus.HEALTHY), (10**9 + 1, HealthStatus.DEGRADED), (2 * 10**9 + 1, HealthStatus.UNHEALTHY)],
)
def test_transaction_ids_that_run_out_are_reported(monkeypatch, age, status):
    monkeypatch.setattr(integrity, "SELECT_AGE_SQL", f"SELECT 'memory', {age}")
    assert check_integrity()[0] is status


def test_checksums_that_are_off_are_advised_about(monkeypatch):
    monkeypatch.setattr(integrity, "SELECT_FAILURES_SQL", "SELECT 'off', 0, NULL")
    assert check_integrity()[0] is HealthStatus.HEALTHY
    assert "pg_checksums" in check_integrity()[2]


def test_an_abandoned_slot_is_named(monkeypatch):
    monkeypatch.setattr(wal, "SELECT_SLOTS_SQL", "SELECT 'old_replica', '7 GB', false")
    status, message, mend = check_wal()
    assert status is HealthStatus.DEGRADED
    assert message == "WAL is kept for replication slots: old_replica keeps 7 GB."
    assert mend.startswith("SELECT pg_drop_replication_slot('old_replica')")


def test_the_statement_about_slots_knows_its_columns():
    with connection.cursor() as cursor:
        cursor.execute(wal.SELECT_SLOTS_SQL, {"most": 0})
        assert [column.name for column in cursor.description] == ["slot_name", "pg_size_pretty", "active"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"failing": True, "failed_count": 12}, HealthStatus.DEGRADED, "Archiving of 0001 fails, 12 times so far."),
        ({"seconds": None}, HealthStatus.HEALTHY, "Nothing was archived yet."),
        ({}, HealthStatus.HEALTHY, "0000 was archived 60 s ago."),
    ],
)
def test_an_archive_that_fails_is_a_fault(fields, status, words):
    archiver = {"archives": True, "failing": False, "failed_count": 0, "last_archived_wal": "0000", "seconds": 60}
    found = check_archiver(archiver | {"last_failed_wal": "0001"} | fields)
    assert found[0] is status
    assert words in found[1]
