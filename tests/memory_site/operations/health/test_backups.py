"""Backups that are missing, old, bad or never restored."""

from datetime import timedelta

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from memory_site.operations.health.backups import CONFIGURE, MAKE, REMOVE, SCHEDULE, VERIFY, check_backups
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.models import Backup, BackupState, OffsiteState

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings, tmp_path):
    """A site of some days, with its schedule and a place for backups."""
    settings.BACKUP_DIR = tmp_path
    crontab = CrontabSchedule.objects.create(hour=2, minute=0)
    PeriodicTask.objects.create(name=SCHEDULE, task="tests.backup", crontab=crontab)
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - timedelta(days=9))
    return settings


def make_young() -> None:
    MigrationRecorder.Migration.objects.update(applied=timezone.now() - timedelta(hours=3))


def add_backup(hours: float, state: str = BackupState.VERIFIED, **fields) -> None:
    at = timezone.now() - timedelta(hours=hours)
    if state == BackupState.VERIFIED:
        fields = {"verified_at": at, "restore_seconds": 41.2} | fields
    Backup.objects.create(name=f"memory-{hours}", state=state, started_at=at, written_at=at, **fields)


def test_a_recent_verified_backup_is_healthy():
    add_backup(9)
    status, message = check_backups()
    assert status is HealthStatus.HEALTHY
    assert "restored in 41 s" in message


def test_without_backups_a_new_site_is_healthy_and_an_old_one_is_not():
    assert check_backups() == (HealthStatus.DEGRADED, "There is none.", MAKE)
    make_young()
    assert check_backups()[0] is HealthStatus.HEALTHY


def test_without_a_place_for_them_only_a_new_site_is_healthy(site):
    site.BACKUP_DIR = None
    assert check_backups() == (HealthStatus.DEGRADED, "There is no place for backups.", CONFIGURE)
    make_young()
    assert check_backups() == (HealthStatus.HEALTHY, "There is no place for backups.", CONFIGURE)


def test_an_operator_with_other_backups_switches_the_schedule_off(site):
    site.BACKUP_DIR = None
    PeriodicTask.objects.update(enabled=False)
    assert check_backups() == (HealthStatus.HEALTHY, "Their schedule is switched off.")


@pytest.mark.parametrize(
    ("backups", "words", "mend"),
    [
        ([(40, BackupState.VERIFIED)], "The last one is of ", MAKE),
        ([(9, BackupState.WRITTEN)], "None was restored and compared yet.", VERIFY),
        ([(9, BackupState.WRITTEN), (230, BackupState.VERIFIED)], "None was restored and compared since ", VERIFY),
        ([(-99_999, BackupState.VERIFIED), (40, BackupState.VERIFIED)], "yet to come: a clock was wrong.", REMOVE),
        ([(9, BackupState.BAD), (30, BackupState.VERIFIED)], "memory-9: ", MAKE),
    ],
)
def test_old_bad_and_unproven_backups_are_faults(backups, words, mend):
    for hours, state in backups:
        add_backup(hours, state)
    status, message, advice = check_backups()
    assert (status, advice) == (HealthStatus.DEGRADED, mend)
    assert words in message


def test_a_copy_that_failed_is_a_fault():
    add_backup(9, offsite_state=OffsiteState.FAILED, offsite_error="access denied")
    status, message, _ = check_backups()
    assert status is HealthStatus.DEGRADED
    assert message.endswith("access denied")


def test_a_copy_that_no_worker_has_tried_is_a_fault_where_there_is_a_target(site):
    add_backup(13)
    assert check_backups()[0] is HealthStatus.HEALTHY
    site.BACKUP_TARGET = "file:///elsewhere"
    assert check_backups()[:2] == (HealthStatus.DEGRADED, "The last one is not at BACKUP_TARGET: no worker has tried.")
    Backup.objects.update(offsite_state=OffsiteState.COPIED)
    assert check_backups()[0] is HealthStatus.HEALTHY
