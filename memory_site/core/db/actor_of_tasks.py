"""What a worker's task changes is changed by `task:<name>`."""

from contextlib import AbstractContextManager
from typing import Any

from celery.signals import task_postrun, task_prerun

from memory_site.core.db.actor import acting_as

_running: dict[str, AbstractContextManager[None]] = {}


@task_prerun.connect
def begin_task(task_id: str, task: Any, **_: object) -> None:
    _running[task_id] = block = acting_as(f"task:{task.name}")
    block.__enter__()


@task_postrun.connect
def end_task(task_id: str, **_: object) -> None:
    if block := _running.pop(task_id, None):
        block.__exit__(None, None, None)
