"""Clocks of processes that differ from the database's."""

import re

import pytest

from memory_site.core.db import clocks
from memory_site.operations.health.clocks import check_clocks
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.models import Heartbeat

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("least", "most", "offset"), [(-0.1, 0.2, 0), (3, 3.5, 3), (-9, -8, -8), (-4, 900, 0)], ids=str
)
def test_what_the_round_trip_explains_is_no_offset(least, most, offset):
    assert clocks.bound_offset(least, most) == offset


def test_a_process_notes_its_clock(monkeypatch):
    shift = 600
    clock = clocks.time.time
    monkeypatch.setattr("memory_site.core.db.clocks.time.time", lambda: clock() + shift)
    Heartbeat.objects.note("worker")
    monkeypatch.undo()
    name = Heartbeat.objects.get().name
    status, message = check_clocks()
    assert status is HealthStatus.DEGRADED
    [seconds] = re.findall(rf"^{re.escape(name)} is (\d+) s ahead of the database's clock", message)
    assert shift - 60 < int(seconds) <= shift  # less by what the question to the database took


def test_equal_clocks_are_healthy():
    Heartbeat.objects.note("worker")
    status, message = check_clocks()
    assert (status, message) == (HealthStatus.HEALTHY, "2 processes differ by 0.0 s at most from the database.")


def test_this_process_counts_too(monkeypatch):
    monkeypatch.setattr("memory_site.operations.health.clocks.measure_clock_offset", lambda: -30.0)
    assert check_clocks()[1].startswith("this process is 30 s behind")
