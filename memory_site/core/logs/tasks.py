"""What the worker's lines say about the task in whose course they are logged, and one line for each finished task."""

import logging
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

from celery.signals import beat_init, celeryd_init, setup_logging, task_postrun, task_prerun
from django.conf import settings

from memory_site.core.logs.context import BEAT, WORKER, logging_for, set_process_kind
from memory_site.core.logs.setup import JSON

log = logging.getLogger("memory_site.tasks")
#: By task id: what ends with the task, and when it began.
_running: dict[str, tuple[AbstractContextManager[None] | None, float]] = {}


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Keep Celery from configuring logging: LOG_LEVEL and LOG_FORMAT decide, in worker and beat too."""


@celeryd_init.connect
def note_worker(**_: object) -> None:
    set_process_kind(WORKER)


@beat_init.connect
def note_beat(**_: object) -> None:
    set_process_kind(BEAT)


@task_prerun.connect
def begin_task(task_id: str, task: Any, **_: object) -> None:
    """Note the task's ids for all lines that its thread logs, where logs are JSON."""
    if settings.LOG_FORMAT != JSON:
        return
    fields = {"task": task.name, "task_id": task_id}
    block = logging_for(lambda: fields)
    block.__enter__()
    _running[task_id] = block, perf_counter()


@task_postrun.connect
def end_task(task_id: str, state: str | None = None, **_: object) -> None:
    block, started = _running.pop(task_id, (None, 0.0))
    if block is not None:
        milliseconds = round((perf_counter() - started) * 1000, 2)
        log.info("Task finished", extra={"state": state, "duration_ms": milliseconds})
        block.__exit__(None, None, None)
