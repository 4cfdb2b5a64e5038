"""Work that only one process may be at: held by a lock of the database, which dies with whoever holds it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, InterfaceError, connection

TRY_LOCK_SQL = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK_SQL = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class AlreadyRunning(Exception):
    """Somebody else is at this work."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


@contextmanager
def advisory_lock(work: str, busy: str | None = None) -> Iterator[None]:
    """Nobody else does the work of this name inside the block. Raises AlreadyAtWork, in the words of `busy`."""
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK_SQL, [work])
        if not cursor.fetchone()[0]:
            raise AlreadyRunning(busy)
    try:
        yield
    finally:
        with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:  # a dead connection holds nothing
            cursor.execute(UNLOCK_SQL, [work])
