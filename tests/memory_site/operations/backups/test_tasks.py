"""What beat and the console have a worker do."""

from datetime import timedelta

import pytest
from celery.exceptions import Retry
from django.conf import settings as site
from django.utils import timezone

from memory_site.core.leases.leases import hold_lease
from memory_site.operations import tasks as discovered
from memory_site.operations.backups.database import connect, create_database, describe_database, list_databases
from memory_site.operations.backups.facts import read_backup_facts
from memory_site.operations.backups.make import LEASE
from memory_site.operations.backups.rows import INTERRUPTED, store_row
from memory_site.operations.backups.tasks import (
    MAX_DAILY_BYTES,
    is_verification_due,
    make_nightly_backup,
    rotate_old_backups,
    verify_chosen_backup,
)
from memory_site.operations.backups.verify import get_scratch_prefix
from memory_site.operations.models import Backup

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_night_makes_and_verifies_a_backup(folder):
    name = make_nightly_backup()
    row = Backup.objects.get()
    assert (row.name, row.state) == (name, "verified")
    with connect() as opened:
        create_database(f"{get_scratch_prefix()}0123abcd", describe_database(opened))  # a killed verification's
    assert rotate_old_backups() == 0
    assert list_databases(get_scratch_prefix()) == []
    facts = read_backup_facts()
    assert facts.latest_started_at == facts.latest_verified_started_at == row.started_at
    assert (facts.last_verification_at, facts.restore_seconds) == (row.verified_at, row.restore_seconds)
    assert (facts.bad, facts.is_working, facts.is_configured, facts.is_supported) == ([], False, True, True)


def test_a_large_database_is_verified_once_a_week(copy):
    stored = copy("plain")
    assert is_verification_due(stored)
    large = stored.change(database=stored.manifest["database"] | {"bytes": MAX_DAILY_BYTES + 1})
    assert is_verification_due(large)
    row = store_row(large)
    for days, due in ((1, False), (6, False), (7, True)):
        Backup.objects.filter(pk=row.pk).update(state="verified", verified_at=timezone.now() - timedelta(days=days))
        assert is_verification_due(large) is due


def test_without_a_directory_the_tasks_do_nothing(settings):
    settings.BACKUP_DIR = None
    assert (make_nightly_backup(), rotate_old_backups()) == (None, 0)
    assert read_backup_facts().is_configured is False


def test_while_another_process_works_a_backup_is_left_out_and_the_rest_waits(copy, monkeypatch):
    stored = copy("plain")
    for task in (rotate_old_backups, verify_chosen_backup):
        monkeypatch.setattr(task, "retry", lambda **options: Retry(when=options["countdown"]))
    with hold_lease(LEASE):
        assert make_nightly_backup() is None
        for wait in (rotate_old_backups, lambda: verify_chosen_backup(stored.name)):
            with pytest.raises(Retry) as waiting:
                wait()
            # A message that waits longer than the broker's timeout is delivered twice.
            assert waiting.value.when < site.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
        assert read_backup_facts().is_working


def test_beat_sends_them_at_two_and_three():
    found = {
        entry["task"]: (min(entry["schedule"].hour), min(entry["schedule"].minute))
        for entry in site.CELERY_BEAT_SCHEDULE.values()
        if ".backups." in entry["task"]
    }
    assert found == {make_nightly_backup.name: (2, 0), rotate_old_backups.name: (3, 0)}
    for task in (make_nightly_backup, rotate_old_backups, verify_chosen_backup):  # a worker imports this module alone
        assert getattr(discovered, task.__name__) is task


def test_bad_backups_count_until_a_younger_one_is_verified(copy):
    stored = copy("plain")
    store_row(stored)
    now = timezone.now()
    Backup.objects.create(name="killed", state="bad", message=INTERRUPTED, started_at=now)
    Backup.objects.create(name="older", state="bad", message="old", started_at=stored.started_at - timedelta(1))
    assert read_backup_facts().bad == [f"killed: {INTERRUPTED}", "older: old"]
    Backup.objects.filter(name=stored.name).update(state="verified", verified_at=now)
    assert read_backup_facts().bad == [f"killed: {INTERRUPTED}"]
    Backup.objects.create(name="good", state="verified", verified_at=now, started_at=now + timedelta(seconds=1))
    assert read_backup_facts().bad == []
