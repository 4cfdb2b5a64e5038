"""The Celery application. A message is only a hint: due work is stored in the database."""

import atexit
import gc
import os
import sys

from celery import Celery
from celery.signals import celeryd_init

import memory_site.core.db.actor_of_tasks
import memory_site.core.logs.tasks  # noqa: F401  (connects to Celery's signals)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")

app = Celery("memory_site", task_cls="memory_site.core.releases.tasks:WatchedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@celeryd_init.connect
def trace_worker(**_: object) -> None:
    from memory_site.core.tracing.setup import start_tracing  # noqa: PLC0415  (every command imports this module)

    start_tracing("worker")


def skip_last_garbage_collection() -> None:
    """Spare the end of this process a search for garbage of up to a second, which frees nothing that its end does not.

    With DuckDB the search takes place: DuckDB prints each of its objects that is left as leaked.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()


# Every process of the project imports this module: worker, beat, server and each command.
atexit.register(skip_last_garbage_collection)
