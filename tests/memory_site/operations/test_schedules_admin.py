"""The console's page of scheduled tasks."""

from datetime import timedelta

import pytest
from celery.schedules import crontab
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import ProtectedError
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from kombu.exceptions import OperationalError

from memory_site.celery import app
from memory_site.operations import schedule_outcomes
from memory_site.operations.models import Heartbeat, RunState, ScheduleOutcome
from memory_site.operations.schedule_runs import find_live_workers
from memory_site.operations.schedule_words import describe_entry
from memory_site.operations.schedules import seed_schedules
from tests.console import assert_saved, fetch_form_errors, fetch_page_text

pytestmark = pytest.mark.django_db
URL = "/admin/django_celery_beat/periodictask/"
NAME = "delete outdated memories"
FORM = {"rhythm": "daily", "at": "12:00", "enabled": "on", "args": "[]", "kwargs": "{}"}


@pytest.fixture
def task() -> PeriodicTask:
    seed_schedules({name: settings.CELERY_BEAT_SCHEDULE[name] for name in (NAME, "measure free space")})
    return PeriodicTask.objects.get(name=NAME)


def get_page(task: PeriodicTask) -> str:
    return f"{URL}{task.pk}/change/"


def act(console, task: PeriodicTask, action: str):
    """Confirm a row's action as its dialog does."""
    page = reverse(f"admin:django_celery_beat_periodictask_{action}", args=[task.pk])
    return console.post(page, {"_form_submitted": "True"})


def test_every_built_in_schedule_says_what_it_does():
    entries = settings.CELERY_BEAT_SCHEDULE
    assert [name for name, entry in entries.items() if not entry.get("description", "").endswith(".")] == []


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (15, "every 15 seconds"),
        (3600, "every hour"),
        (2 * 86_400, "every 2 days"),
        (crontab(hour="3", minute="45"), "every day at 03:45 UTC"),
        (crontab(hour="4", minute="5", day_of_week="sunday"), "every Sunday at 04:05 UTC"),
        (crontab(hour="0", minute="0", day_of_week="0"), "every Sunday at 00:00 UTC"),
    ],
    ids=["seconds", "hour", "days", "daily", "weekly", "weekly by number"],
)
def test_schedules_are_shown_in_words(schedule, words):
    assert describe_entry(schedule) == words


def test_the_list_says_in_words_what_runs_when_and_how_it_ended(console, task):
    now = timezone.now()
    ScheduleOutcome.objects.create(name=NAME, started_at=now - timedelta(minutes=9), succeeded_at=now, seconds=540)
    ScheduleOutcome.objects.create(
        name="measure free space", failed_at=now, error="OSError", message="OSError: no disk"
    )
    text = fetch_page_text(console, URL)
    assert settings.CELERY_BEAT_SCHEDULE[NAME]["description"] in text
    assert "every day at 03:45 UTC" in text and "every 15 minutes" in text and "took 9 min" in text
    assert "failed: OSError: no disk" in text and "changed from the default" not in text
    assert 'hx-trigger="every 2s' not in text


def test_a_changed_schedule_is_marked_and_reset(console, task):
    assert_saved(console.post(get_page(task), FORM))
    assert "changed from the default (every day at 03:45 UTC)" in fetch_page_text(console, URL)
    assert act(console, task, "reset").status_code == 200
    task.refresh_from_db()
    assert task.schedule == crontab(hour="3", minute="45")
    assert "changed from the default" not in fetch_page_text(console, URL)
    messages = list(LogEntry.objects.order_by("id").values_list("change_message", flat=True))
    assert messages == [
        "Runs every day at 12:00 UTC, before: every day at 03:45 UTC.",
        "Reset: runs every day at 03:45 UTC, before: every day at 12:00 UTC.",
    ]


def test_what_is_shown_is_saved_unchanged(console, task):
    """The form of a stored schedule, sent back as it came."""
    for rhythm in (
        {"rhythm": "interval", "every": "90", "period": "minutes"},
        {"crontab_text": "5 4 * * 1-5", "rhythm": "crontab"},
    ):
        assert_saved(console.post(get_page(task), FORM | rhythm))
        before = PeriodicTask.objects.values("interval", "crontab", "args", "kwargs", "task", "name").get(pk=task.pk)
        form = console.get(get_page(task)).context["adminform"].form
        shown = {name: form[name].value() for name in form.fields}
        assert shown.items() >= rhythm.items() or shown["every"] == 90
        assert_saved(console.post(get_page(task), {name: value for name, value in shown.items() if value is not None}))
        assert PeriodicTask.objects.values(*before).get(pk=task.pk) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"rhythm": "interval", "every": "", "period": "hours"},
        {"rhythm": "interval", "every": "0", "period": "hours"},
        {"rhythm": "interval", "every": "99999999999999999999", "period": "days"},
        {"rhythm": "interval", "every": "2000000000", "period": "days"},
        {"rhythm": "interval", "every": "2", "period": "years"},
        {"rhythm": "daily", "at": ""},
        {"rhythm": "daily", "at": "25:00"},
        {"rhythm": "weekly", "at": "10:00", "weekday": ""},
        {"rhythm": "weekly", "at": "10:00", "weekday": "9"},
        {"rhythm": "crontab", "crontab_text": "* * *"},
        {"rhythm": "crontab", "crontab_text": "61 * * * *"},
        {"rhythm": "crontab", "crontab_text": "*/0 * * * *"},
        {"rhythm": "crontab", "crontab_text": "a b c d e"},
        {"rhythm": "crontab", "crontab_text": "\0 * * * *"},
        {"rhythm": "crontab", "crontab_text": "5-1 * * * *"},
        {"rhythm": "crontab", "crontab_text": "0 0 * * 7"},
        {"rhythm": ""},
        {"rhythm": "\0"},
        {"args": "{}"},
        {"args": "no"},
        {"args": "[" * 100_000},
        {"kwargs": "[]"},
        {"kwargs": "\0"},
        {"description": "\0"},
        {"expire_seconds": "-1"},
        {"expire_seconds": "99999999999999999999"},
    ],
    ids=str,
)
def test_what_beat_could_not_run_is_an_error_of_the_form(console, task, fields):
    if len(str(fields)) > 1000:
        fields = {name: value[:20_000] for name, value in fields.items()}
    fetch_form_errors(console.post(get_page(task), FORM | fields))
    task.refresh_from_db()
    assert task.schedule == crontab(hour="3", minute="45")


def test_a_built_in_task_keeps_its_name_and_function_and_cannot_be_deleted(console, task):
    assert_saved(console.post(get_page(task), FORM | {"name": "other", "task": "memories.tasks.embed_due"}))
    assert PeriodicTask.objects.get(pk=task.pk).name == NAME
    assert console.post(f"{URL}{task.pk}/delete/", {"post": "yes"}).status_code == 403
    console.post(URL, {"action": "delete_selected", "_selected_action": [task.pk], "post": "yes"})
    assert PeriodicTask.objects.filter(pk=task.pk).exists()


def test_an_operators_own_task_is_made_and_deleted(console, task):
    own = FORM | {
        "name": "mine",
        "task": "memories.tasks.embed_due",
        "rhythm": "crontab",
        "crontab_text": "*/7 * * * *",
    }
    assert_saved(console.post(URL + "add/", own))
    mine = PeriodicTask.objects.get(name="mine")
    assert "every" in fetch_page_text(console, URL).lower() and mine.crontab.minute == "*/7"
    assert console.post(f"{URL}{mine.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not PeriodicTask.objects.filter(name="mine").exists()


def test_intervals_and_crontabs_in_use_are_not_deleted(task):
    with pytest.raises(ProtectedError, match=NAME), transaction.atomic():
        task.crontab.delete()
    with pytest.raises(ProtectedError), transaction.atomic():
        IntervalSchedule.objects.all().delete()
    assert PeriodicTask.objects.count() == 2
    CrontabSchedule.objects.create(minute="1").delete()


def test_strange_parameters_are_no_error(console, task):
    for path in (
        "?q=%00",
        "?enabled__exact=%00",
        "?o=x",
        "?p=x",
        "?e=1",
        "x/change/",
        "%00/change/",
        "99999999999999999999/change/",
    ):
        assert console.get(URL + path, follow=True).status_code in (200, 404), path
    for name in ("run_now", "reset"):
        page = reverse(f"admin:django_celery_beat_periodictask_{name}", args=["x"])
        assert console.post(page, {"_form_submitted": "True"}).status_code < 500, name


# Run now


@pytest.fixture
def broker(monkeypatch):
    """Collects the messages instead of sending them."""
    sent = []
    monkeypatch.setattr(app.Task, "apply_async", lambda self, **options: sent.append((self.name, options)))
    return sent


def get_state() -> RunState:
    return ScheduleOutcome.objects.get(name=NAME).find_state(find_live_workers())


def test_run_now_is_shown_as_queued_running_and_done(console, task, broker, monkeypatch):
    monkeypatch.setattr(schedule_outcomes, "_noted", {NAME: float("inf")})  # it ran a moment ago
    assert act(console, task, "run_now").status_code == 200
    name, options = broker[0]
    assert (name, get_state()) == (task.task, RunState.QUEUED)
    text = fetch_page_text(console, URL)
    assert "queued" in text and 'hx-trigger="every 2s' in text

    seen = []

    @app.task(name="tests.looks")
    def looks() -> None:
        Heartbeat.objects.note("worker")
        seen.append(get_state())
        Heartbeat.objects.all().delete()
        seen.append(get_state())

    looks.apply(headers=options["headers"])
    app.tasks.pop("tests.looks")
    assert (seen, get_state()) == ([RunState.RUNNING, RunState.INTERRUPTED], RunState.SUCCEEDED)
    assert ScheduleOutcome.objects.get(name=NAME).seconds >= 0


def test_a_run_that_could_not_be_sent_is_not_queued(console, task, monkeypatch):
    def fail(self, **options):
        raise OperationalError("no broker")

    monkeypatch.setattr(app.Task, "apply_async", fail)
    act(console, task, "run_now")
    assert "was not sent: no broker" in fetch_page_text(console, URL)
    assert get_state() is RunState.NEVER
