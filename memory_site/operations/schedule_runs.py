"""Runs of a scheduled task that an operator asks for."""

import json

from celery import current_app
from django_celery_beat.models import PeriodicTask

from memory_site.operations.models import Heartbeat, ProcessKind, ScheduleOutcome
from memory_site.operations.schedule_outcomes import REQUESTED


class UnknownTask(ValueError):
    """Raised for a row whose function this release does not have."""


def request_run(row: PeriodicTask, by: str) -> None:
    """Have a worker run a task now, whether it is enabled or not.

    Raise UnknownTask, or kombu's OperationalError when the broker does not answer.
    """
    current_app.loader.import_default_modules()
    if (task := current_app.tasks.get(row.task)) is None:
        raise UnknownTask(f"There is no task {row.task}.")
    headers = {"periodic_task_name": row.name, REQUESTED: True}
    ScheduleOutcome.objects.note_request(row.name, by)  # first: a worker may be quicker
    try:
        task.apply_async(args=json.loads(row.args), kwargs=json.loads(row.kwargs), queue=row.queue, headers=headers)
    except Exception:
        ScheduleOutcome.objects.filter(name=row.name).update(requested_at=None)
        raise


def find_live_workers() -> set[str]:
    """Return host and process id of the workers whose heart beats."""
    prefix = f"{ProcessKind.WORKER} "
    names = Heartbeat.objects.alive().filter(kind=ProcessKind.WORKER).values_list("name", flat=True)
    return {name.removeprefix(prefix) for name in names}
