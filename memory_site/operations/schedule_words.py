"""Schedules in words: when a task runs, what it does, and how that differs from the release's default."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery.schedules import crontab
from django.conf import settings
from django_celery_beat.models import CrontabSchedule, PeriodicTask

INTERVAL_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
WEEKDAYS = {"0": "Sunday", "1": "Monday", "2": "Tuesday", "3": "Wednesday", "4": "Thursday", "5": "Friday"}
WEEKDAYS |= {"6": "Saturday", "7": "Sunday"}
#: Crontab's own names of days.
WEEKDAY_NAMES = {day[:3].lower(): day for day in WEEKDAYS.values()} | {day.lower(): day for day in WEEKDAYS.values()}


def describe_interval(interval: timedelta) -> str:
    """Return an interval in its largest whole unit: 3600 seconds are "every hour"."""
    seconds = interval.total_seconds()
    unit, length = next((pair for pair in INTERVAL_UNITS.items() if seconds % pair[1] == 0), ("second", 1))
    return f"every {unit}" if seconds == length else f"every {seconds / length:g} {unit}s"


def describe_crontab(row: CrontabSchedule) -> str:
    """Return "every day at 03:45 UTC" or "every Sunday at 04:15 UTC", and the library's words for anything else."""
    day = get_weekday(row.day_of_week)
    is_simple = row.minute.isdecimal() and row.hour.isdecimal() and (row.day_of_month, row.month_of_year) == ("*", "*")
    if not is_simple or day is None:
        return str(row.human_readable)
    return f"every {day} at {int(row.hour):02}:{int(row.minute):02} {row.timezone}"


def get_weekday(text: str) -> str | None:
    """Return the day, "day" for all of them, or None if a crontab names several."""
    text = text.lower()
    return "day" if text == "*" else WEEKDAYS.get(text) or WEEKDAY_NAMES.get(text)


def describe_task(task: PeriodicTask) -> str:
    if task.interval:
        return describe_interval(task.interval.schedule.run_every)
    return describe_crontab(task.crontab) if task.crontab else str(task.scheduler)


def get_default(name: str) -> Mapping[str, Any] | None:
    """Return the entry of a built-in schedule, or None for the operator's own."""
    return settings.CELERY_BEAT_SCHEDULE.get(name)


def describe_default(name: str) -> str | None:
    entry = get_default(name)
    return describe_entry(entry["schedule"]) if entry else None


def describe_entry(schedule: crontab | float) -> str:
    """Describe the schedule of an entry of settings.CELERY_BEAT_SCHEDULE, which needs no row."""
    return describe_crontab(build_row(schedule)) if isinstance(schedule, crontab) else describe_seconds(schedule)


def describe_seconds(seconds: float) -> str:
    return describe_interval(timedelta(seconds=seconds))


def build_row(schedule: crontab) -> CrontabSchedule:
    parts = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
    values = {part: str(getattr(schedule, f"_orig_{part}")) for part in parts}
    return CrontabSchedule(**values, timezone=settings.TIME_ZONE)


def describe_change(task: PeriodicTask) -> str | None:
    """Return the default of a built-in task that runs at other times, else None."""
    default = describe_default(task.name)
    return None if default == describe_task(task) else default


def get_purpose(task: PeriodicTask) -> str:
    """Return what a task does: the operator's own words, or the release's."""
    return task.description or (get_default(task.name) or {}).get("description", "")
