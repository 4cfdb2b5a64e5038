"""Work of a process that no request waits for; above all task messages, which never wait for the broker.

A request sets a flag; a daemon thread of the process sends the message. A broker that is down, frozen or emptied delays
nothing here: beat schedules the task as well, and the work that is due is stored in the database.
"""

import logging
import threading
import time
from collections.abc import Callable

from celery import Task
from django.db import transaction

from memory_site.core.metrics.counters import task_messages
from memory_site.core.tracing import Origins
from memory_site.core.tracing.messages import publishing

log = logging.getLogger(__name__)
MIN_INTERVAL_SECONDS = 0.1
# A message that was not read in time is worthless: the next one says the same.
MESSAGE_EXPIRY_SECONDS = 60


class BackgroundCall:
    """Calls a function in a daemon thread of this process soon after it is requested, at most once per interval.

    The function must not raise.
    """

    def __init__(self, name: str, function: Callable[[], object], interval_seconds: float) -> None:
        self.name, self.function, self.interval_seconds = name, function, interval_seconds
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def request(self) -> None:
        """Have the function called soon. Return at once; never fail."""
        self._requested.set()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            self.function()
            time.sleep(self.interval_seconds)


class TaskTrigger:
    """Sends messages for one task, at most ten a second however often it is called."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._origins = Origins()
        self._sender = BackgroundCall(f"trigger {task.name}", self.notify_now, MIN_INTERVAL_SECONDS)

    def notify_on_commit(self) -> None:
        """Run the task soon after the current transaction commits. Return at once; never fail."""
        transaction.on_commit(self.notify, robust=True)

    def notify_now(self) -> None:
        """Send the message now, for a process that is about to end. Wait for the broker at most two seconds."""
        try:
            with publishing(self.task.name, self._origins.take()) as headers:
                self.task.apply_async(retry=False, expires=MESSAGE_EXPIRY_SECONDS, ignore_result=True, headers=headers)
        except Exception as error:  # whatever the broker's client raises: the work is only delayed
            task_messages.labels("failed").inc()
            log.warning("The broker did not take a message: %s", type(error).__name__)

    def notify(self) -> None:
        """Have this process send a message soon, whatever the transaction does. Return at once; never fail."""
        self._origins.add_current()
        self._sender.request()
