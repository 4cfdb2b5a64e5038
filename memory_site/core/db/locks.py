"""Advisory locks of the database, by name, which end with their transaction. Across transactions there are leases.

All names share one key space (`hashtextextended`), so a lock's name says what it is about: "first credentials".
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

LOCK_TRANSACTION_SQL = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
TRY_LOCK_TRANSACTION_SQL = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
# One statement: it runs before each write of an insight.
LOCK_TRANSACTION_WITHIN_SQL = """
SELECT CASE WHEN before <> '0' THEN set_config('lock_timeout', %s, true) END,
       pg_advisory_xact_lock(hashtextextended(%s, 0)), set_config('lock_timeout', before, true)
FROM (SELECT current_setting('lock_timeout') AS before OFFSET 0) limits
"""
BOUND_LOCK_WAIT_SQL = (
    "SELECT set_config('lock_timeout', %s, true) FROM current_setting('lock_timeout') AS before WHERE before = '0'"
)
#: How long background work waits for a row, so that one that stays locked does not hold up the rest of the work.
MAX_BACKGROUND_WAIT_SECONDS = 10


class AlreadyRunning(Exception):
    """Another process is doing this work."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


def advisory_xact_lock(name: str, max_wait_seconds: float | None = None) -> None:
    """Wait for a lock and hold it until the transaction ends.

    `max_wait_seconds` shortens the connection's lock_timeout for this wait. A connection without one (a worker's)
    waits as long as it takes. Raises OperationalError (LockNotAvailable) when the time is over.
    """
    with connection.cursor() as cursor:
        if max_wait_seconds is None:
            cursor.execute(LOCK_TRANSACTION_SQL, [name])
        else:
            cursor.execute(LOCK_TRANSACTION_WITHIN_SQL, [format_timeout(max_wait_seconds), name])


def try_advisory_xact_lock(name: str) -> bool:
    """Take a lock until the transaction ends, unless another session holds it. Return whether it was taken."""
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK_TRANSACTION_SQL, [name])
        return cursor.fetchone()[0]


def set_lock_timeout(seconds: float) -> None:
    """Have every later statement of the transaction fail (LockNotAvailable) that waits longer for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [format_timeout(seconds)])


@contextmanager
def bounded_transaction() -> Iterator[None]:
    """Have each statement of a transaction fail that waits longer for a lock; a connection's own lock_timeout stays.

    Raises OperationalError (LockNotAvailable).
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BOUND_LOCK_WAIT_SQL, [format_timeout(MAX_BACKGROUND_WAIT_SECONDS)])
        yield


def format_timeout(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
