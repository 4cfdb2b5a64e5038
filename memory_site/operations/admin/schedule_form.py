"""The form of a scheduled task: its interval or crontab is part of it."""

import json
from datetime import time
from typing import Any

from celery import current_app
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from memory_site.operations.schedule_words import WEEKDAYS, describe_task, get_default, get_weekday

MAX_INTERVAL_SECONDS = 366 * 86_400
#: Seconds of each unit of an interval.
PERIODS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
CRONTAB_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


class Rhythm(models.TextChoices):
    INTERVAL = "interval", "every …"
    DAILY = "daily", "once a day"
    WEEKLY = "weekly", "once a week"
    CRONTAB = "crontab", "by a crontab"


#: For the theme: which fields are shown for which rhythm.
CONDITIONAL_FIELDS = {
    "every": "rhythm == 'interval'",
    "period": "rhythm == 'interval'",
    "at": "rhythm == 'daily' || rhythm == 'weekly'",
    "weekday": "rhythm == 'weekly'",
    "crontab_text": "rhythm == 'crontab'",
}
REQUIRED_FIELDS = {
    Rhythm.INTERVAL: ("every", "period"),
    Rhythm.DAILY: ("at",),
    Rhythm.WEEKLY: ("at", "weekday"),
    Rhythm.CRONTAB: ("crontab_text",),
}


def list_task_names() -> list[str]:
    current_app.loader.import_default_modules()
    return sorted(name for name in current_app.tasks if not name.startswith("celery."))


class TaskField(forms.ChoiceField):
    """The functions that a worker can run. A row keeps one that this release does not have."""

    def __init__(self) -> None:
        super().__init__(
            label="What runs",
            choices=lambda: [(name, name) for name in list_task_names()],
            widget=UnfoldAdminSelectWidget,
        )

    def valid_value(self, value: Any) -> bool:
        return self.disabled or super().valid_value(value)


class ClockField(forms.TimeField):
    """A time of the day, to the minute."""

    def prepare_value(self, value: Any) -> Any:
        return f"{value:%H:%M}" if isinstance(value, time) else value


class ScheduleForm(forms.ModelForm):
    task = TaskField()
    rhythm = forms.ChoiceField(label="Runs", choices=Rhythm, widget=UnfoldAdminRadioSelectWidget, initial=Rhythm.DAILY)
    every = forms.IntegerField(required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget)
    period = forms.ChoiceField(
        required=False, label="Unit", choices=[(name, name) for name in PERIODS], widget=UnfoldAdminSelectWidget
    )
    at = ClockField(
        required=False,
        label=f"At ({settings.TIME_ZONE})",
        input_formats=["%H:%M"],
        widget=UnfoldAdminTextInputWidget({"placeholder": "03:45", "inputmode": "numeric"}),
    )
    weekday = forms.ChoiceField(
        required=False,
        label="On",
        choices=[(number, WEEKDAYS[number]) for number in "1234560"],
        widget=UnfoldAdminSelectWidget,
    )
    crontab_text = forms.CharField(
        required=False,
        label="Crontab",
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"placeholder": "45 3 * * 1-5"}),
        help_text=f"Minute, hour, day of the month, month and day of the week, in {settings.TIME_ZONE}: "
        "“*/20 * * * *” is every twenty minutes, “45 3 * * 1-5” is 03:45 on weekdays.",
    )

    class Meta:
        model = PeriodicTask
        fields = ("name", "task", "enabled", "description", "args", "kwargs", "expire_seconds")
        labels = {"args": "Arguments", "kwargs": "Named arguments", "expire_seconds": "Expires after (seconds)"}
        help_texts = {
            "name": "",
            "args": "A JSON list.",
            "kwargs": "A JSON object.",
            "expire_seconds": "A run that no worker has begun by then is dropped. Empty: never.",
            "description": "Empty: the text of this release.",
            "enabled": "",
        }

    def __init__(self, *args: Any, instance: PeriodicTask | None = None, **options: Any) -> None:
        initial = {**(get_rhythm(instance) if instance else {}), **(options.pop("initial", None) or {})}
        super().__init__(*args, instance=instance, initial=initial, **options)
        self.described = describe_task(instance) if instance else None
        if instance and get_default(instance.name):  # under another name it would be another task
            for field in self.fields.keys() & {"name", "task"}:
                self.fields[field].disabled = True

    def clean_args(self) -> str:
        return self.clean_json("args", list, "a list")

    def clean_kwargs(self) -> str:
        return self.clean_json("kwargs", dict, "an object")

    def clean_json(self, name: str, kind: type, words: str) -> str:
        try:
            value = json.loads(self.cleaned_data[name])
        except (ValueError, RecursionError) as error:
            raise ValidationError("This is not JSON.") from error
        if not isinstance(value, kind):
            raise ValidationError(f"This is not {words}.")
        return self.cleaned_data[name]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        missing = [name for name in REQUIRED_FIELDS.get(data.get("rhythm", ""), ()) if data.get(name) in (None, "")]
        for name in missing:
            if name not in self.errors:
                self.add_error(name, "This is needed.")
        if not self.errors:
            self.put_schedule(data)
        return data

    def put_schedule(self, data: dict[str, Any]) -> None:
        """Give the row its schedule, which is not stored before the row is."""
        try:
            self.instance.interval, self.instance.crontab = build_schedule(data)
        except ValidationError as error:
            self.add_error(next(iter(REQUIRED_FIELDS[data["rhythm"]])), error.messages)
        self.instance.solar = self.instance.clocked = None

    def _save_m2m(self) -> None:
        """Nothing: the form has no such fields."""

    def save(self, commit: bool = True) -> PeriodicTask:
        for name in ("interval", "crontab"):
            if (schedule := getattr(self.instance, name)) is not None:
                setattr(self.instance, name, find_or_create(schedule))
        return super().save(commit)


def build_schedule(data: dict[str, Any]) -> tuple[IntervalSchedule | None, CrontabSchedule | None]:
    """Return the unsaved schedule that a valid form describes. Raise ValidationError if beat could not run it."""
    if data["rhythm"] == Rhythm.INTERVAL:
        if data["every"] * PERIODS[data["period"]] > MAX_INTERVAL_SECONDS:
            raise ValidationError("An interval is a year at most.")
        return IntervalSchedule(every=data["every"], period=data["period"]), None
    row = CrontabSchedule(**dict(zip(CRONTAB_FIELDS, split_crontab(data), strict=True)), timezone=settings.TIME_ZONE)
    row.clean_fields()
    check_parsed(row)
    return None, row


def check_parsed(row: CrontabSchedule) -> None:
    """Have Celery read it too: it knows less than the validators, and beat would end with its error."""
    try:
        row.schedule  # noqa: B018
    except Exception as error:  # one of several, by what is wrong
        raise ValidationError("This is not a crontab.") from error


def split_crontab(data: dict[str, Any]) -> list[str]:
    if data["rhythm"] == Rhythm.CRONTAB:
        parts = data["crontab_text"].split()
        if len(parts) != len(CRONTAB_FIELDS):
            raise ValidationError("A crontab has five parts, separated by spaces.")
        return parts
    at: time = data["at"]
    day = data["weekday"] if data["rhythm"] == Rhythm.WEEKLY else "*"
    return [str(at.minute), str(at.hour), "*", "*", day]


def find_or_create(schedule: IntervalSchedule | CrontabSchedule) -> Any:
    names = ("every", "period") if isinstance(schedule, IntervalSchedule) else (*CRONTAB_FIELDS, "timezone")
    values = {name: getattr(schedule, name) for name in names}
    return type(schedule).objects.filter(**values).first() or type(schedule).objects.create(**values)


def get_rhythm(task: PeriodicTask) -> dict[str, Any]:
    """Return the form's values of a stored schedule."""
    if task.interval:
        return {"rhythm": Rhythm.INTERVAL, **simplify_interval(task.interval)}
    if (row := task.crontab) is None:
        return {}
    text = " ".join(str(getattr(row, name)) for name in CRONTAB_FIELDS)
    is_plain = row.minute.isdecimal() and row.hour.isdecimal() and row.day_of_month == row.month_of_year == "*"
    day = get_weekday(row.day_of_week) if is_plain else None
    if day is None:
        return {"rhythm": Rhythm.CRONTAB, "crontab_text": text}
    number = find_weekday_number(day)
    rhythm = Rhythm.WEEKLY if number else Rhythm.DAILY
    return {"rhythm": rhythm, "at": time(int(row.hour), int(row.minute)), "weekday": number, "crontab_text": text}


def find_weekday_number(day: str) -> str | None:
    return next((number for number in "1234560" if WEEKDAYS[number] == day), None)


def simplify_interval(interval: IntervalSchedule) -> dict[str, Any]:
    """Return the interval in its largest whole unit."""
    seconds = round(interval.schedule.run_every.total_seconds())
    unit, length = next(pair for pair in reversed(PERIODS.items()) if seconds % pair[1] == 0)
    return {"every": max(seconds // length, 1), "period": unit}
