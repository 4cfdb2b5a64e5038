"""One process at a time prepares a database."""

import threading
import time

import pytest
from django.db import connection

from memory_site.core.db import setup_lock as module
from memory_site.core.db.setup_lock import POLL_INTERVAL_SECONDS, setup_lock
from memory_site.operations.selftest.scratch_site import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
SELECT_LAST_WORDS_SQL = """
SELECT query_start FROM pg_stat_activity JOIN pg_locks USING (pid)
WHERE locktype = 'advisory' AND granted AND query = %s
"""


def test_the_second_waits_for_the_first_and_says_so_once():
    waited, order = [], []

    def be_second():
        with setup_lock(lambda: waited.append(True)):
            order.append("second")
        connection.close()

    with setup_lock():
        second = threading.Thread(target=be_second)
        second.start()
        wait_until(lambda: waited, 60, "the second waits")
        time.sleep(3 * POLL_INTERVAL_SECONDS)
        order.append("first")
    second.join(60)
    assert order == ["first", "second"]
    assert waited == [True]


def test_it_holds_while_transactions_come_and_go_and_is_free_after_an_error():
    with pytest.raises(ZeroDivisionError), setup_lock():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.close()
        assert not is_free()
        raise ZeroDivisionError
    assert is_free()


def test_a_live_holder_speaks_again_before_its_silence_is_too_long(monkeypatch):
    assert module.PING_INTERVAL_SECONDS < 60 and "'60s'" in module.SPEAK_SQL
    monkeypatch.setattr(module, "PING_INTERVAL_SECONDS", 0.1)
    spoken = set()

    def has_spoken_thrice() -> bool:
        spoken.update(find_last_words())
        return len(spoken) > 3

    with setup_lock():
        wait_until(has_spoken_thrice, 60, "the holder speaks")
        assert not is_free()


def test_a_holder_that_says_nothing_loses_it(monkeypatch):
    monkeypatch.setattr(module, "SPEAK_SQL", "SET LOCAL idle_in_transaction_session_timeout = '200ms'")
    with setup_lock():
        wait_until(is_free, 60, "the lock is free")


def find_last_words() -> list[tuple]:
    """Return when the holder of the lock spoke last."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_LAST_WORDS_SQL, [module.SPEAK_SQL])
        return cursor.fetchall()


def is_free():
    keeper = connection.copy()
    try:
        return module.take_lock(keeper)
    finally:
        keeper.close()
