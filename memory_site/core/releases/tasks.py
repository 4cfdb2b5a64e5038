"""The base class of background tasks."""

from typing import Any

from celery import Task

from memory_site.core.releases.watch import release_watch


class WatchedTask(Task):
    """A task that fails at once in a worker of a release with which the database does not work. What is due is stored
    in the database, so a worker of the right release does it."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        release_watch.require()
        super().before_start(task_id, args, kwargs)
