"""Notes how scheduled tasks run: beat knows when it sent a message, not whether the task did its work."""

import time
from typing import Any, NamedTuple

from celery import Task
from django.db import Error

from memory_site.core.leases.process import format_process_name
from memory_site.core.logs.errors import describe_error
from memory_site.operations.models import ScheduleOutcome

#: Runs of a frequent task are noted once in so many seconds. A failure, and the first success after it, always.
NOTE_INTERVAL_SECONDS = 120.0
#: Header of the message of a run that an operator asked for, which is noted always.
REQUESTED = "requested_run"
#: When this process last noted a success of a schedule.
_noted: dict[str, float] = {}


class Run(NamedTuple):
    """A run of this process that has not ended: when it began, and whether its start was noted."""

    began: float
    is_noted: bool


#: By task id.
_running: dict[str, Run] = {}


def note_start(task_id: str, task: Task, **_: Any) -> None:
    """Note that the task of a schedule begins its work."""
    if name := get_schedule(task):
        is_noted = (is_due(name) or is_requested(task)) and write(
            ScheduleOutcome.objects.note_start, name, format_process_name()
        )
        _running[task_id] = Run(time.monotonic(), is_noted)


def note_success(sender: Task, **_: Any) -> None:
    """Note that the task of a schedule has done its work."""
    name, run = get_schedule(sender), _running.pop(sender.request.id, None)
    is_wanted = (run is not None and run.is_noted) or is_due(name)
    if name and is_wanted and write(ScheduleOutcome.objects.note_success, name, get_seconds(run)):
        _noted[name] = time.monotonic()


def note_failure(sender: Task, exception: BaseException, **_: Any) -> None:
    """Note the kind of an error, and its text if that cannot hold content."""
    run = _running.pop(sender.request.id, None)
    if name := get_schedule(sender):
        _noted.pop(name, None)
        kind, text = type(exception).__name__, describe_error(exception)
        write(ScheduleOutcome.objects.note_failure, name, kind, text, get_seconds(run))


def is_due(name: str) -> bool:
    return time.monotonic() - _noted.get(name, float("-inf")) > NOTE_INTERVAL_SECONDS


def get_seconds(run: Run | None) -> float | None:
    return None if run is None else time.monotonic() - run.began


def get_headers(task: Task) -> dict[str, Any]:
    return task.request.headers or vars(task.request)  # a worker makes attributes of them


def get_schedule(task: Task) -> str:
    """Return the name of the schedule that sent the message, or an empty text."""
    return get_headers(task).get("periodic_task_name") or ""


def is_requested(task: Task) -> bool:
    return bool(get_headers(task).get(REQUESTED))


def write(note, *arguments: Any) -> bool:
    """Return whether it could be written. A database that is away is another check's."""
    try:
        note(*arguments)
    except Error:
        return False
    return True
