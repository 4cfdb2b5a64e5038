"""Contents of cards, kept for a minute. A card that fails, or takes too long, takes nothing from the others."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import Error
from django.utils import timezone
from psycopg.errors import QueryCanceled

from memory_site.core.caches import Cache
from memory_site.core.db.timeouts import limit_statements

log = logging.getLogger(__name__)
MAX_AGE_SECONDS, MAX_FAILURE_AGE_SECONDS = 60, 10
#: Of one card, and of all that one page has read: what is left over shows its last content, or that it has none.
MAX_CARD_SECONDS, MAX_PAGE_SECONDS = 3.0, 6.0
TOO_SLOW = "The database needs too long for these figures now."


@dataclass(frozen=True)
class Snapshot:
    """The content at a moment; with an error that of an earlier success, or None."""

    content: Any
    at: datetime
    read_at: float
    seconds: float = 0.0
    error: str = ""

    @property
    def is_fresh(self) -> bool:
        age = time.monotonic() - self.read_at
        return age < (MAX_FAILURE_AGE_SECONDS if self.error else MAX_AGE_SECONDS)


#: Entries leave by number alone: an old content is shown, with its time, while a new one cannot be read.
_snapshots: Cache[tuple, Snapshot] = Cache(2_000)


class Reader:
    """Reads contents for one page, in bounded time."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + MAX_PAGE_SECONDS

    def read(self, key: tuple, build: Callable[[], Any], is_kept: bool = True) -> Snapshot:
        """Return the kept content if it is fresh, or else a new one."""
        kept = _snapshots.get(key)
        if kept is None or not kept.is_fresh or not is_kept:
            kept = self.build(key, build, kept)
            _snapshots.set(key, kept)
        return kept

    def build(self, key: tuple, build: Callable[[], Any], kept: Snapshot | None) -> Snapshot:
        started = time.monotonic()
        try:
            with limit_statements(find_limit(self.deadline)):
                content = build()
        except Exception as error:  # whatever a card's fault is, the others stand
            log.warning("The dashboard's %s failed: %s", key[0], type(error).__name__)
            return fail(kept, started, describe_error(error))
        return Snapshot(content, timezone.now(), started, time.monotonic() - started)


class TooSlow(Exception):
    """No time is left for this page."""


def find_limit(deadline: float) -> float:
    """Return the seconds that a statement of the next card may take. Raises TooSlow when none are left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TooSlow
    return min(MAX_CARD_SECONDS, left)


def fail(kept: Snapshot | None, read_at: float, error: str) -> Snapshot:
    """Return the earlier content with the error, or only the error."""
    return replace(kept, read_at=read_at, error=error) if kept else Snapshot(None, timezone.now(), read_at, 0.0, error)


def describe_error(error: Exception) -> str:
    """Return a sentence without any content of rows."""
    if isinstance(error, TooSlow) or isinstance(error.__cause__, QueryCanceled):
        return TOO_SLOW
    kind = "The database refused the statement" if isinstance(error, Error) else "The figures could not be read"
    return f"{kind} ({type(error).__name__})."
