"""The lock of what prepares a database: of any number of machines that start at once, one migrates, the others wait.

There may be no table yet, and a pooler may stand between, so it is a transaction's advisory lock on a connection of its
own.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.db import Error, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from memory_site.core.db.locks import TRY_LOCK_TRANSACTION_SQL

NAME = "setup"
# A machine that vanished without closing its connection loses the lock after this time; a live one speaks more often.
# Not by a SELECT: its snapshot would stay until the next statement, and CREATE INDEX CONCURRENTLY would wait for it.
SPEAK_SQL = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
PING_INTERVAL_SECONDS = 15
POLL_INTERVAL_SECONDS = 0.3


@contextmanager
def setup_lock(on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock inside the block; call `on_wait` once if another process has it. Not reentrant."""
    keeper = connection.copy()
    keeper.inc_thread_sharing()
    released = threading.Event()
    try:
        wait_for_lock(keeper, on_wait)
        threading.Thread(target=keep_speaking, args=(keeper, released), name=NAME, daemon=True).start()
        yield
    finally:
        released.set()
        keeper.close()  # without an end of the transaction: a pooler closes its connection too


def wait_for_lock(keeper: BaseDatabaseWrapper, on_wait: Callable[[], object]) -> None:
    """Try until the lock is taken. A waiter keeps no connection, of which a pooler may have few."""
    report = on_wait
    while not take_lock(keeper):
        keeper.close()
        report()
        report = lambda: None  # noqa: E731
        time.sleep(POLL_INTERVAL_SECONDS)


def take_lock(keeper: BaseDatabaseWrapper) -> bool:
    """Take the lock and leave its transaction open. Return whether it was free."""
    with keeper.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(TRY_LOCK_TRANSACTION_SQL, [NAME])
        is_taken = cursor.fetchone()[0]
        cursor.execute(SPEAK_SQL if is_taken else "ROLLBACK")
        return is_taken


def keep_speaking(keeper: BaseDatabaseWrapper, released: threading.Event) -> None:
    with suppress(Error):  # the connection is closed, which releases the lock
        while not released.wait(PING_INTERVAL_SECONDS):
            with keeper.cursor() as cursor:
                cursor.execute(SPEAK_SQL)
