"""The base class of background tasks."""

from typing import Any

from celery import Task

from memory_site.core.releases.watch import release_watch


class WatchedTask(Task):
    """A task that fails at once in a worker of a release with which the database does not work. What is due is stored
    in the database, so a worker of the right release does it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        release_watch.require()
        return super().__call__(*args, **kwargs)
