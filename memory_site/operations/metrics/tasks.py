"""Counts background tasks by Celery's signals: those that a worker runs, and the messages that any process sends."""

import time
from typing import Any

from celery import Task
from celery.signals import after_task_publish, task_postrun, task_prerun

#: When each task that runs now began, by its id.
_started: dict[str, float] = {}


@after_task_publish.connect
def count_message(**_: Any) -> None:
    from memory_site.core.metrics.counters import task_messages  # noqa: PLC0415  (20 ms of every command's start)

    task_messages.labels("sent").inc()


@task_prerun.connect
def note_start(task_id: str, **_: Any) -> None:
    _started[task_id] = time.perf_counter()


@task_postrun.connect
def count_run(task_id: str, task: Task, state: str | None = None, **_: Any) -> None:
    """Count a task that has ended. Its names are those of this code base: a worker refuses others."""
    from memory_site.core.metrics.counters import task_runs, task_seconds  # noqa: PLC0415  (as above)

    started = _started.pop(task_id, None)
    task_runs.labels(task.name, (state or "unknown").lower()).inc()
    if started is not None:
        task_seconds.labels(task.name).observe(time.perf_counter() - started)
