"""Heartbeats of the processes of all machines, and what health makes of them."""

import re
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from memory_site.core.leases.process import identify_process
from memory_site.operations.health.database import SPARE_CONNECTIONS, check_connections
from memory_site.operations.health.processes import check_beat, check_worker
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.models import Heartbeat

pytestmark = pytest.mark.django_db
AGE = re.compile(r"\d+(?= s ago)")


def add_worker(name: str, seconds: int = 0, kind: str = "worker", **fields: object) -> None:
    seen_at = Now() - timedelta(seconds=seconds)
    Heartbeat.objects.create(name=f"{kind} {name}", kind=kind, seen_at=seen_at, **fields)


@pytest.fixture
def is_said() -> Callable[[str, str], bool]:
    """Whether a message is the expected one, but for ages that are greater by what the test took."""
    began = time.monotonic()

    def is_said(message: str, expected: str) -> bool:
        most = time.monotonic() - began + 1
        ages = zip(AGE.findall(message), AGE.findall(expected), strict=True)
        return AGE.sub("", message) == AGE.sub("", expected) and all(0 <= int(a) - int(b) <= most for a, b in ages)

    return is_said


def test_a_missing_worker_is_named_while_others_live(is_said):
    add_worker("first:7", 5)
    add_worker("second:7", 70)
    add_worker("third:7", 9)
    status, message = check_worker()
    assert status is HealthStatus.DEGRADED
    assert is_said(message, "1 of 3 workers are missing: worker second:7 (70 s ago).")


@pytest.mark.parametrize(
    ("ages", "status", "message"),
    [
        ([], HealthStatus.DEGRADED, "Never seen, or stopped."),
        ([6], HealthStatus.HEALTHY, "Last seen 6 s ago."),
        ([6, 8], HealthStatus.HEALTHY, "2 workers; the last one was seen 8 s ago."),
        ([60, 50], HealthStatus.DEGRADED, "Last seen 50 s ago."),
    ],
)
def test_workers_are_counted(ages, status, message, is_said):
    add_worker("site:3", kind="web")
    for number, age in enumerate(ages):
        add_worker(f"machine:{number}", age)
    found = check_worker()
    assert found[0] is status
    assert is_said(found[1], message), found


def test_a_worker_that_stops_on_purpose_is_not_missed():
    Heartbeat.objects.note("worker", 8)
    add_worker("other:7")
    Heartbeat.objects.remove_own("worker")
    assert [worker.name for worker in Heartbeat.objects.all()] == ["worker other:7"]


def test_who_starts_replaces_those_of_its_machine_that_have_ended():
    machine = identify_process().split()[0]
    add_worker("killed:1", process=f"{machine} 1 0")
    add_worker("elsewhere:1", process="elsewhere/1 1 0")
    add_worker("unknown:1")
    Heartbeat.objects.note("worker", 8)
    Heartbeat.objects.remove_ended()
    assert not Heartbeat.objects.filter(name="worker killed:1").exists()
    assert Heartbeat.objects.count() == 3


def test_a_missing_worker_is_forgotten_after_an_hour():
    add_worker("long ago:1", 3700)
    add_worker("lately:1", 3500)
    Heartbeat.objects.forget_old()
    assert [worker.name for worker in Heartbeat.objects.all()] == ["worker lately:1"]


def test_beat_has_one_heartbeat_for_all(is_said):
    Heartbeat.objects.note_beat()
    Heartbeat.objects.note_beat()
    status, message = check_beat()
    assert status is HealthStatus.HEALTHY
    assert is_said(message, "Last seen 0 s ago.")


def test_connections_of_live_processes_are_counted_against_the_servers():
    add_worker("first:7", connections=8)
    add_worker("first:8", kind="web", connections=20)
    add_worker("gone:8", 50, kind="web", connections=500)
    status, message = check_connections()
    assert (status, message) == (
        HealthStatus.HEALTHY,
        f"2 processes may open {28 + SPARE_CONNECTIONS}; PostgreSQL has 57.",
    )
    add_worker("second:7", kind="web", connections=30)
    assert check_connections()[0] is HealthStatus.DEGRADED


def test_a_pooler_bounds_the_connections(settings):
    settings.DATABASE_POOLER = "transaction"
    add_worker("first:8", kind="web", connections=500)
    assert check_connections()[0] is HealthStatus.HEALTHY


def test_the_console_tells_which_is_missing(console):
    add_worker("first:7", 5, connections=8)
    add_worker("second:7", 70)
    page = console.get("/admin/operations/heartbeat/").content.decode()
    assert page.count("alive") >= 1
    assert "missing" in page
