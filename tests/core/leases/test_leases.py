"""Leases: one holder at a time, across processes that are killed or only stopped."""

import subprocess
import sys
from threading import Event, Thread

import pytest
from django.db import connection
from django.utils import timezone

from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.leases import leases
from memory_site.core.leases.leases import LeaseLost, hold_lease, take_lease
from memory_site.core.leases.models import Lease
from memory_site.core.leases.process import has_ended, identify_process
from memory_site.operations.selftest.scratch_site import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "a test"


@pytest.fixture
def expired():
    """A lease that expired and that its holder, who stands still, believes to have."""
    lease = take_lease(NAME)
    Lease.objects.update(expires_at="2020-01-01T00:00Z")
    return lease


def in_thread(function):
    """The result of a function on a connection of its own."""
    found = []

    def run():
        found.append(function())
        connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


def test_one_holds_it_at_a_time_and_it_is_free_after_the_block():
    with hold_lease(NAME):
        with pytest.raises(AlreadyRunning, match="busy"), hold_lease(NAME, "busy"):
            pass
        with hold_lease("another test"):
            pass
    with pytest.raises(ZeroDivisionError), hold_lease(NAME):
        raise ZeroDivisionError
    assert not Lease.objects.exists()


def test_a_live_holder_keeps_it_longer_than_it_lasts(monkeypatch):
    assert leases.RENEWAL_INTERVAL_SECONDS < leases.LEASE_SECONDS / 2
    monkeypatch.setattr(leases, "LEASE_SECONDS", 600.0)
    monkeypatch.setattr(leases, "RENEWAL_INTERVAL_SECONDS", 0.1)
    with hold_lease(NAME):
        for _ in range(3):
            Lease.objects.update(expires_at="2020-01-01T00:00Z")  # as if its time had passed
            wait_until(Lease.objects.filter(expires_at__gt=timezone.now()).exists, 60, "the holder renews it")
            assert take_lease(NAME) is None


def test_a_holder_that_stood_still_writes_nothing_after_another_has_taken_over(expired):
    assert in_thread(lambda: take_lease(NAME)) is not None
    with pytest.raises(LeaseLost), expired.transaction():
        Lease.objects.create(name="written", token=expired.token, expires_at="2020-01-01T00:00Z")
    assert not expired.renew()
    expired.release()
    assert list(Lease.objects.values_list("name", flat=True)) == [NAME]


def test_a_holder_that_stood_still_goes_on_if_no_other_has_taken_over(expired):
    with expired.transaction():
        pass
    assert expired.renew()


def test_none_takes_over_while_the_holder_writes(expired):
    with expired.transaction():
        assert in_thread(lambda: take_lease(NAME)) is None
    assert in_thread(lambda: take_lease(NAME)) is not None


def test_of_many_at_once_one_takes_it():
    start, taken = Event(), []

    def run():
        start.wait()
        taken.append(take_lease(NAME))
        connection.close()

    threads = [Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join(60)
    assert len([lease for lease in taken if lease]) == 1


def test_a_killed_holder_of_this_machine_loses_it_at_once():
    argv = [sys.executable, "-c", IDENTIFY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        take_lease(NAME)
        Lease.objects.update(process=child.stdout.readline().strip())
        assert take_lease(NAME) is None
        child.kill()
    assert take_lease(NAME) is not None


def test_of_other_machines_nothing_is_known():
    machine, pid, started = identify_process().split()
    assert not has_ended(identify_process())
    assert has_ended(f"{machine} {pid} 1")
    assert has_ended(f"{machine} 0 {started}")
    assert not has_ended(f"other/1 {pid} 1")
    assert not has_ended("")


IDENTIFY = """
from memory_site.core.leases.process import identify_process
print(identify_process(), flush=True)
input()
"""
