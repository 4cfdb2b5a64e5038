"""Periodic tasks: their schedules are created once, then they are the operator's."""

from datetime import timedelta

import pytest
from celery.schedules import crontab
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from memory_site.celery import app
from memory_site.core.leases.models import Lease
from memory_site.operations.models import SeededSchedule
from memory_site.operations.schedules import STANDBY_INTERVAL_SECONDS, SeedingScheduler, seed_schedules
from tests.console import assert_saved

pytestmark = pytest.mark.django_db(transaction=True)  # beat commits and closes connections
NAME = "delete expired memories"


def start_beat() -> SeedingScheduler:
    """Set the schedules up as beat does at its start."""
    beat = app.Beat()
    scheduler = beat.Service(app, scheduler_cls=beat.scheduler_cls).get_scheduler()
    assert isinstance(scheduler, SeedingScheduler)
    scheduler._finalize.cancel()  # it would write to the database at the end of the tests
    return scheduler


def test_beat_creates_every_schedule_of_the_settings():
    started = start_beat()
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == set(settings.CELERY_BEAT_SCHEDULE)
    entry = started.schedule["prune insights"]
    assert (entry.task, entry.schedule) == (
        "memories.insights.tasks.prune_insights",
        crontab(hour="4", minute="15", day_of_week="sunday"),
    )


def test_messages_of_frequent_tasks_expire():
    start_beat()
    assert PeriodicTask.objects.get(name="embed pending memories").expire_seconds == 15
    # `expires`, which other schedulers read, would be ignored.
    assert {option for entry in settings.CELERY_BEAT_SCHEDULE.values() for option in entry.get("options", {})} == {
        "expire_seconds"
    }


def test_what_the_operator_changed_is_kept():
    start_beat()
    nightly = CrontabSchedule.objects.create(hour="2", minute="5")
    changes = {"enabled": False, "interval": None, "crontab": nightly, "kwargs": '{"a": 1}', "expire_seconds": 7}
    PeriodicTask.objects.filter(name=NAME).update(**changes)
    before = PeriodicTask.objects.values().get(name=NAME)
    started = start_beat()
    assert PeriodicTask.objects.values().get(name=NAME) == before
    assert NAME not in started.schedule


def test_what_was_edited_in_the_console_is_kept(console):
    start_beat()
    task = PeriodicTask.objects.get(name=NAME)
    page = f"/admin/django_celery_beat/periodictask/{task.pk}/change/"
    form = {"rhythm": "interval", "every": "2", "period": "hours", "enabled": "on", "args": "[]", "kwargs": "{}"}
    assert_saved(console.post(page, form))
    assert start_beat().schedule[NAME].schedule.run_every.total_seconds() == 7200
    hour = timezone.now().hour  # beat reads the crontabs of the hours around the present one only
    assert_saved(console.post(page, form | {"rhythm": "weekly", "at": f"{hour:02}:05", "weekday": "3"}))
    assert start_beat().schedule[NAME].schedule == crontab(hour=str(hour), minute="5", day_of_week="3")
    assert_saved(console.post(page, {key: value for key, value in form.items() if key != "enabled"}))
    assert NAME not in start_beat().schedule


def test_a_schedule_that_the_operator_deleted_stays_deleted():
    start_beat()
    PeriodicTask.objects.get(name=NAME).delete()
    assert NAME not in start_beat().schedule


def test_a_new_release_adds_and_removes_its_own_schedules_only():
    mine = IntervalSchedule.objects.create(every=1, period="days")
    PeriodicTask.objects.create(name="mine", task="memories.tasks.embed_due", interval=mine)
    seed_schedules({"old": {"task": "a.b", "schedule": 60}, "kept": {"task": "a.b", "schedule": 60}})
    seed_schedules({"kept": {"task": "c.d", "schedule": 90}, "new": {"task": "e.f", "schedule": 60}})
    rows = PeriodicTask.objects.values_list("name", "task", "interval__every")
    assert set(rows) == {("mine", "memories.tasks.embed_due", 1), ("kept", "c.d", 60), ("new", "e.f", 60)}
    assert set(SeededSchedule.objects.values_list("name", flat=True)) == {"kept", "new"}


def test_a_store_of_before_keeps_what_its_operator_changed():
    """Its schedules exist without a record of their creation."""
    start_beat()
    SeededSchedule.objects.all().delete()
    PeriodicTask.objects.filter(name=NAME).update(enabled=False)
    assert NAME not in start_beat().schedule
    assert SeededSchedule.objects.count() == len(settings.CELERY_BEAT_SCHEDULE)


# Several beats

#: Those that run whatever the hour is, and not again during a test.
HOURLY = {name for name, entry in settings.CELERY_BEAT_SCHEDULE.items() if entry["schedule"] == 3600}


def make_due() -> None:
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(days=40))


def send_due(scheduler: SeedingScheduler, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the hourly tasks that a beat sends."""
    sent = set()
    monkeypatch.setattr(scheduler, "apply_entry", lambda entry, producer=None: sent.add(entry.name))
    for _ in range(2 * len(settings.CELERY_BEAT_SCHEDULE)):
        scheduler.tick()
    return sent & HOURLY


def test_of_several_beats_one_sends_tasks(monkeypatch):
    first, second = start_beat(), start_beat()
    make_due()
    assert send_due(first, monkeypatch) == HOURLY
    assert send_due(second, monkeypatch) == set()
    assert second.tick() == STANDBY_INTERVAL_SECONDS


def test_another_beat_takes_over_at_once_when_one_stops_and_repeats_nothing(monkeypatch):
    first, second = start_beat(), start_beat()
    make_due()
    send_due(first, monkeypatch)
    assert send_due(second, monkeypatch) == set()
    first.close()  # which stores when each task ran
    assert send_due(second, monkeypatch) == set()
    assert second.is_leading()


def test_another_beat_takes_over_when_one_is_silent_and_that_one_sends_nothing_more(monkeypatch):
    first, second = start_beat(), start_beat()
    send_due(first, monkeypatch)
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    make_due()
    assert send_due(second, monkeypatch) == HOURLY
    make_due()
    assert send_due(first, monkeypatch) == set()
