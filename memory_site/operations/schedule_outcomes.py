"""Notes how scheduled tasks end: beat knows when it sent a message, not whether the task did its work."""

import time
from typing import Any

from celery import Task
from django.db import Error

from memory_site.operations.models import ScheduleOutcome

#: Successes of a frequent task are noted once in so many seconds. A failure, and the first success after it, always.
NOTE_INTERVAL_SECONDS = 120.0
#: When this process last noted a success of a schedule.
_noted: dict[str, float] = {}


def note_success(sender: Task, **_: Any) -> None:
    """Note that the task of a schedule has done its work."""
    name = get_schedule(sender)
    is_due = time.monotonic() - _noted.get(name, float("-inf")) > NOTE_INTERVAL_SECONDS
    if name and is_due and write(ScheduleOutcome.objects.note_success, name):
        _noted[name] = time.monotonic()


def note_failure(sender: Task, exception: BaseException, **_: Any) -> None:
    """Note the kind of an error. Its text may hold content."""
    if name := get_schedule(sender):
        _noted.pop(name, None)
        write(ScheduleOutcome.objects.note_failure, name, type(exception).__name__)


def get_schedule(task: Task) -> str:
    """Return the name of the schedule that sent the message, or an empty text."""
    headers = task.request.headers or vars(task.request)  # a worker makes attributes of them
    return headers.get("periodic_task_name") or ""


def write(note, *arguments: str) -> bool:
    """Return whether it could be written. A database that is away is another check's."""
    try:
        note(*arguments)
    except Error:
        return False
    return True
