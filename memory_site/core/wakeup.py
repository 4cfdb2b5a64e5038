"""Waking a worker without ever waiting for the broker.

A request sets a flag; a daemon thread of the process sends the message. A broker that is down, frozen or emptied
costs nothing here: beat rings as well, and what is due stands in the database.
"""

import logging
import threading
import time

from celery import Task
from django.db import transaction

log = logging.getLogger(__name__)
MIN_INTERVAL_SECONDS = 0.1
# A bell nobody heard in time is not worth hearing late: the next one says the same.
MESSAGE_EXPIRY_SECONDS = 60


class TaskTrigger:
    """Rings for one task, at most ten times a second however often it is asked to."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def notify_on_commit(self) -> None:
        """Have the task run soon after the present transaction commits. Returns at once, never fails."""
        transaction.on_commit(self._request, robust=True)

    def notify_now(self) -> None:
        """The same for a process that is about to end: waits for the broker, two seconds at most."""
        try:
            self.task.apply_async(retry=False, expires=MESSAGE_EXPIRY_SECONDS, ignore_result=True)
        except Exception as error:  # whatever the broker's client raises: the work is not lost, only later
            log.warning("Nobody could be woken: %s", type(error).__name__)

    def _request(self) -> None:
        self._requested.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=f"bell {self.task.name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            self.notify_now()
            time.sleep(MIN_INTERVAL_SECONDS)
