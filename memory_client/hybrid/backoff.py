"""Why waiting writes are not sent, and when to try again."""

import logging
import random
import time

from memory_client.errors import Forbidden, MemoryClientError, NotAuthenticated, UnexpectedAnswer
from memory_client.hybrid.errors import ForeignFile
from memory_client.hybrid.events import BLOCKED, RESUMED, log_event

FIRST_DELAY, MAX_DELAY, MAX_RETRY_AFTER = 0.5, 30.0, 300.0
MAX_DOUBLINGS = 10

#: What holds the writes up. The server comes back by itself; the others wait for a person who corrects something.
SERVER, KEY, ADDRESS, FILE = "server", "key", "address", "file"


def name_obstacle(error: MemoryClientError) -> str:
    """Return what has to change before a write can be sent that failed like this."""
    if isinstance(error, NotAuthenticated | Forbidden):
        return KEY
    if isinstance(error, UnexpectedAnswer):
        return ADDRESS
    return FILE if isinstance(error, ForeignFile) else SERVER


class Backoff:
    """blocked_by: SERVER, KEY, ADDRESS or FILE since an attempt failed, else None. last_error: what it failed with."""

    def __init__(self) -> None:
        self.blocked_by: str | None = None
        self.last_error: str | None = None
        self._failures, self._not_before = 0, 0.0

    @property
    def remaining(self) -> float:
        """Seconds until the next attempt."""
        return max(self._not_before - time.monotonic(), 0.0)

    def skip_pause(self) -> None:
        self._not_before = 0.0

    def note_failure(self, error: MemoryClientError) -> float:
        """Return the seconds until the next attempt: twice as long each time, and no less than the server asks for."""
        self._log(error)
        self.blocked_by, self.last_error = name_obstacle(error), f"{type(error).__name__}: {error}"
        delay = min(FIRST_DELAY * 2 ** min(self._failures, MAX_DOUBLINGS), MAX_DELAY) * random.uniform(0.5, 1)  # noqa: S311
        asked = min(getattr(error, "retry_after", None) or 0.0, MAX_RETRY_AFTER)
        self._failures += 1
        self._not_before = time.monotonic() + max(delay, asked)
        return max(delay, asked)

    def _log(self, error: MemoryClientError) -> None:
        """Log only what is new: the writes wait for as long as it takes."""
        obstacle, status = name_obstacle(error), getattr(error, "status", None)
        if obstacle != self.blocked_by:
            level = logging.WARNING if obstacle == SERVER else logging.ERROR
            log_event(level, BLOCKED, blocked_by=obstacle, error=type(error).__name__, status=status)

    def end(self) -> None:
        """Note that nothing holds the writes up."""
        if self.blocked_by is not None:
            log_event(logging.INFO, RESUMED, blocked_by=self.blocked_by)
        self.blocked_by = self.last_error = None
        self._failures, self._not_before = 0, 0.0
