"""Scheduled tasks that are late, fail, or are switched off."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from memory_site.celery import app
from memory_site.operations import schedule_outcomes
from memory_site.operations import tasks as tasks  # connects the signals
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.schedules import check_schedules
from memory_site.operations.models import Heartbeat, ScheduleOutcome

pytestmark = pytest.mark.django_db


def add_schedule(name: str, *, last_run: timedelta | None, created: timedelta = timedelta(days=9), **fields) -> None:
    """Create a schedule that was changed `created` ago and last sent `last_run` ago."""
    if "crontab" not in fields:
        fields["interval"], _ = IntervalSchedule.objects.get_or_create(every=900, period="seconds")
    now = timezone.now()
    task = PeriodicTask.objects.create(name=name, task=f"tests.{name}", **fields)
    sent = now - last_run if last_run is not None else None
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=sent, date_changed=now - created)


def test_all_are_on_time_and_those_switched_off_are_named():
    add_schedule("often", last_run=timedelta(minutes=14))
    add_schedule("new", last_run=None, created=timedelta(minutes=20))
    add_schedule("off", last_run=None, enabled=False)
    assert check_schedules() == (HealthStatus.HEALTHY, "2 schedules are on time. Switched off: off.")


def test_those_that_never_ran_or_are_late_are_named():
    add_schedule("often", last_run=timedelta(hours=3, minutes=7))
    add_schedule("never", last_run=None)
    yesterday = timezone.now() - timedelta(days=1)
    crontab = CrontabSchedule.objects.create(hour=yesterday.hour, minute=yesterday.minute)
    add_schedule("nightly", last_run=timedelta(days=1, hours=2), crontab=crontab)
    add_schedule("nightly on time", last_run=timedelta(hours=23), crontab=crontab)
    status, message, mend = check_schedules()
    assert status is HealthStatus.DEGRADED
    assert message == "Overdue: never (never ran), nightly (last 26 h 0 min ago), often (last 3 h 7 min ago)."
    assert mend


def test_what_fell_due_while_no_beat_ran_gets_time():
    add_schedule("often", last_run=timedelta(days=2))
    Heartbeat.objects.note("beat")
    assert check_schedules()[0] is HealthStatus.HEALTHY
    Heartbeat.objects.update(started_at=timezone.now() - timedelta(minutes=11))
    assert check_schedules()[0] is HealthStatus.DEGRADED


def test_one_that_has_ended_is_not_overdue():
    add_schedule("once", last_run=timedelta(days=2), one_off=True, total_run_count=1)
    add_schedule("ended", last_run=timedelta(days=2), expires=timezone.now() - timedelta(days=1))
    add_schedule("later", last_run=None, start_time=timezone.now() + timedelta(days=1))
    assert check_schedules()[0] is HealthStatus.HEALTHY


@pytest.fixture
def task(monkeypatch):
    """A task that runs in this process, as one that beat has sent; its error is `error`, if set."""
    monkeypatch.setattr(schedule_outcomes, "_noted", {})

    @app.task(name="tests.often")
    def often(error: str = "") -> None:
        if error:
            raise ValueError(error)

    yield often
    app.tasks.pop("tests.often")


def test_a_task_that_fails_is_named_until_it_succeeds_again(task):
    add_schedule("often", last_run=timedelta(minutes=1))
    for error, status in (("", 0), ("secret", 1), ("", 0)):
        task.apply(args=(error,), headers={"periodic_task_name": "often"})
        found = check_schedules()
        assert found[0] == status, found
        assert "secret" not in str(ScheduleOutcome.objects.values())
        if status:
            assert found[1] == "The last run failed: often (ValueError)."


def test_a_task_of_no_schedule_notes_nothing(task, django_assert_num_queries):
    with django_assert_num_queries(0):
        task.apply()
