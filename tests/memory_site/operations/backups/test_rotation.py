"""Which backups are deleted: old ones, and never the last good one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memory_site.operations.backups.folder import StoredBackup
from memory_site.operations.backups.rotate import Retention, choose_outdated

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
RETENTION = Retention(days=30, weeks=8, months=12)


def build(days_old: float, state: str = "verified", **manifest: object) -> StoredBackup:
    started = NOW - timedelta(days=days_old)
    verification = None if state == "written" else {"state": state, "at": started.isoformat()}
    return StoredBackup(
        f"memory-{days_old:g}-{state}",
        Path("/nowhere"),
        {"started_at": started.isoformat(), "verification": verification, **manifest},
        **({"problem": "foreign", "is_foreign": True} if state == "foreign" else {}),
    )


def choose(backups: list[StoredBackup], retention: Retention = RETENTION) -> set[str]:
    return {backup.name for backup in choose_outdated(backups, retention, NOW)}


def test_a_backup_a_day_leaves_days_then_weeks_then_months():
    deleted = choose([build(day) for day in range(500)])
    kept = sorted(day for day in range(500) if f"memory-{day:g}-verified" not in deleted)
    assert kept[:31] == list(range(31))
    assert [day for day in kept if 30 < day < 56] == [36, 43]  # Sundays: with this week's Monday eight weeks
    months = [NOW - timedelta(days=day) for day in kept if day >= 56]
    assert all((moment + timedelta(days=1)).day == 1 for moment in months)
    assert kept[-1] < 365


@pytest.mark.parametrize("state", ["written", "bad"])
def test_what_was_not_verified_replaces_nothing(state):
    assert choose([build(40), build(1, state), build(0, state)]) == set()


def test_nothing_is_deleted_while_nothing_is_verified():
    assert choose([build(day, "written") for day in range(0, 400, 10)]) == set()


def test_the_newest_verified_backup_stays_however_old_it_is():
    assert choose([build(900), build(950)], Retention(30, 0, 0)) == {"memory-950-verified"}


def test_old_backups_that_are_no_good_are_deleted_once_a_newer_one_is():
    backups = [build(1), build(40, "bad"), build(41, "written"), build(2, "bad")]
    assert choose(backups) == {"memory-40-bad", "memory-41-written"}


def test_pinned_backups_and_those_of_another_site_stay():
    backups = [build(1), build(2000, pinned=True), build(2001, "foreign"), build(2002)]
    assert choose(backups) == {"memory-2002-verified"}


def test_weeks_and_months_count_verified_backups_only():
    backups = [build(1), build(39), build(38, "written"), build(37, "bad")]
    assert choose(backups) == {"memory-38-written", "memory-37-bad"}
