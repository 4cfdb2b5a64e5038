"""Takes, renews, checks and releases leases.

No lock of a session: a pooler in transaction mode gives the session to others. A thread of the holder renews the row. A
holder that was killed loses it at once to a process of its own machine, and to others after LEASE_SECONDS. One that
only stood still finds out at its next write, in the transaction of the write; until that ends none can take the lease.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, Error, InterfaceError, connection, transaction

from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases.process import format_process_name, has_ended, identify_process

LEASE_SECONDS, RENEWAL_INTERVAL_SECONDS = 30.0, 5.0

# Never waits: a lease whose holder is writing is skipped, expired or not.
TAKE_SQL = """
WITH taken AS (
    UPDATE leases_lease
    SET token = %(token)s, holder = %(holder)s, process = %(process)s,
        expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE name IN (
        SELECT name FROM leases_lease WHERE name = %(name)s AND expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED
    )
    RETURNING name
),
made AS (
    INSERT INTO leases_lease (name, token, holder, process, expires_at)
    SELECT %(name)s, %(token)s, %(holder)s, %(process)s, clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE NOT EXISTS (SELECT FROM taken)
    ON CONFLICT DO NOTHING RETURNING name
)
SELECT name FROM taken UNION ALL SELECT name FROM made
"""
SELECT_HOLDER_SQL = "SELECT token, process FROM leases_lease WHERE name = %s"
RENEW_SQL = """
UPDATE leases_lease SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE name = %(name)s AND token = %(token)s
"""
CHECK_SQL = "SELECT FROM leases_lease WHERE name = %(name)s AND token = %(token)s FOR SHARE"
RELEASE_SQL = "DELETE FROM leases_lease WHERE name = %(name)s AND token = %(token)s"


class LeaseLost(AlreadyRunning):
    """This process stood still for too long, and another one has taken over its work."""


class HeldLease:
    """A lease that this process has taken."""

    def __init__(self, name: str, token: UUID) -> None:
        self.name, self.token = name, token

    def check(self) -> None:
        """Raise LeaseLost if another process has taken it. Until the transaction ends none can."""
        if not self._execute(CHECK_SQL):
            raise LeaseLost

    def renew(self) -> bool:
        """Hold it for LEASE_SECONDS from now. Return whether it was still held."""
        return self._execute(RENEW_SQL)

    def release(self) -> None:
        self._execute(RELEASE_SQL)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Provide a transaction that happens only while no other process has the lease. Raises LeaseLost."""
        with transaction.atomic():
            self.check()
            yield

    def _execute(self, statement: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"name": self.name, "token": self.token, "seconds": LEASE_SECONDS})
            return cursor.rowcount == 1


def take_lease(name: str) -> HeldLease | None:
    """Take a lease for LEASE_SECONDS, and at once. Return None if another holder has it."""
    lease = HeldLease(name, uuid4())
    parameters: dict[str, Any] = {"name": name, "token": lease.token, "seconds": LEASE_SECONDS}
    parameters |= {"holder": format_process_name(), "process": identify_process()}
    with connection.cursor() as cursor:
        cursor.execute(TAKE_SQL, parameters)
        is_taken = cursor.fetchone() is not None
        if not is_taken and release_dead(name):
            cursor.execute(TAKE_SQL, parameters)
            is_taken = cursor.fetchone() is not None
    return lease if is_taken else None


def release_dead(name: str) -> bool:
    """Release the lease of a holder of this machine that was killed. Return whether there was one."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_HOLDER_SQL, [name])
        row = cursor.fetchone()
    if row is None or not has_ended(row[1]):
        return False
    HeldLease(name, row[0]).release()
    return True


@contextmanager
def hold_lease(name: str, busy: str | None = None) -> Iterator[HeldLease]:
    """Hold a lease inside the block, renewed by a thread. Raises AlreadyRunning(busy) at once if another holder has
    it."""
    lease = take_lease(name)
    if lease is None:
        raise AlreadyRunning(busy)
    released = threading.Event()
    threading.Thread(target=keep_renewing, args=(lease, released), name=f"lease {name}", daemon=True).start()
    try:
        yield lease
    finally:
        released.set()
        with suppress(DatabaseError, InterfaceError):  # it expires
            lease.release()


def keep_renewing(lease: HeldLease, released: threading.Event) -> None:
    """Renew a lease, on a connection of this thread's own, until it is released or lost."""
    held = True
    while held and not released.wait(RENEWAL_INTERVAL_SECONDS):
        try:
            held = lease.renew()
        except Error:
            pass  # the database is away: the next attempt may come in time
        finally:
            connection.close()
