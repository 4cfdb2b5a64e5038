"""One process at a time prepares a database."""

import threading
import time

import pytest
from django.db import connection

from memory_site.core.db import setup_lock as module
from memory_site.core.db.setup_lock import setup_lock

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_second_waits_for_the_first_and_says_so_once():
    waited, order = [], []

    def be_second():
        with setup_lock(lambda: waited.append(True)):
            order.append("second")
        connection.close()

    with setup_lock():
        second = threading.Thread(target=be_second)
        second.start()
        time.sleep(1)
        order.append("first")
    second.join(10)
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


def test_a_live_holder_keeps_it_longer_than_silence_is_allowed(monkeypatch):
    monkeypatch.setattr(module, "SPEAK_SQL", "SET LOCAL idle_in_transaction_session_timeout = '700ms'")
    monkeypatch.setattr(module, "PING_INTERVAL_SECONDS", 0.2)
    with setup_lock():
        time.sleep(1.2)
        assert not is_free()
    monkeypatch.setattr(module, "PING_INTERVAL_SECONDS", 60)
    with setup_lock():
        time.sleep(1.2)
        assert is_free()


def is_free():
    keeper = connection.copy()
    try:
        return module.take_lock(keeper)
    finally:
        keeper.close()
