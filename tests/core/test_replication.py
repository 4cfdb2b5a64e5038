"""How old the data of a replica are follows from positions in the log, without any clock of a server."""

import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from memory_site.core.db import replicas, replication
from memory_site.core.db.replicas import Replica, Replicas
from memory_site.core.db.replication import ANSWER_SECONDS, PROBE_SECONDS, Reading, Watch, find_moment
from memory_site.operations.health import replicas as replica_checks
from memory_site.operations.health.replicas import check_replicas
from memory_site.operations.health.results import HealthStatus

STARTED = datetime(2026, 11, 30, tzinfo=UTC)
NOW = time.monotonic()


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    """No reading grows old while a test is kept from its next line."""
    for module in (replication, replicas):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: NOW, sleep=time.sleep))


def watch_with(*readings, connected=True):
    """A watch that has read these positions, the newest first, so many seconds ago."""
    watch = Watch("default", history_seconds=60)
    watch.history.extend(Reading(NOW - ago, position, False, 1, STARTED) for ago, position in readings)
    watch._connected = connected
    return watch


@pytest.mark.parametrize(
    ("position", "reading"),
    [
        (300, 0),  # it has all that the primary had when it was asked last
        (250, 1),
        (200, 1),
        (100, 2),
    ],
)
def test_a_server_has_the_data_of_the_last_moment_whose_position_it_has_reached(position, reading):
    primary = watch_with((0.1, 300), (0.4, 200), (0.7, 100))
    assert find_moment(position, primary) == primary.history[reading].at


def test_of_a_server_that_has_not_even_what_is_remembered_no_moment_is_known():
    assert find_moment(99, watch_with((0.1, 300), (0.7, 100))) == float("-inf")


def test_an_idle_primary_is_no_lag():
    primary = watch_with((0.1, 300), (60, 300), (3600, 300))
    assert find_moment(300, primary) == primary.history[0].at


def test_positions_of_a_former_primary_do_not_count():
    primary = watch_with((0.1, 300))
    primary.history[0] = Reading(NOW, 300, is_standby=True, system=1, started=STARTED)
    assert find_moment(300, primary) == float("-inf")


def test_nothing_is_known_of_a_server_that_does_not_answer():
    old = PROBE_SECONDS + ANSWER_SECONDS + 0.1
    assert watch_with((0.1, 300)).reading.position == 300
    assert watch_with((old, 300)).reading is None
    assert watch_with((old, 300)).is_silent
    assert watch_with((0.1, 300), connected=False).reading is None
    assert watch_with(connected=False).reading is None


def test_a_server_is_left_out_within_two_seconds():
    assert PROBE_SECONDS + ANSWER_SECONDS <= 1.5


def replicas_with(monkeypatch, *servers):
    """The primary, and replicas of which each is (whether it is a standby, how many hours later it was started)."""
    watched = Replicas()
    watched.primary = watch_with((0.1, 300))
    watched.all = [Replica(f"replica_{number}") for number, _ in enumerate(servers, start=1)]
    for replica, (is_standby, hours) in zip(watched.all, servers, strict=True):
        replica.watch = watch_with((0.1, 300))
        replica.watch.history[0] = Reading(NOW, 300, is_standby, 1, STARTED + timedelta(hours=hours))
    monkeypatch.setattr(replica_checks, "replicas", watched)
    monkeypatch.setattr(replica_checks, "FIRST_ANSWER_SECONDS", 0)
    monkeypatch.setattr(watched, "start", lambda: None)
    return watched


def test_an_address_of_the_primary_is_not_read_and_is_no_fault(monkeypatch):
    watched = replicas_with(monkeypatch, (False, 0), (True, 1))
    assert watched.choose().replica.alias == "replica_2"
    status, message = check_replicas()
    assert status == HealthStatus.HEALTHY
    assert re.fullmatch(r"replica_1: not read, because it is the primary\. replica_2: \S+ s behind at most\.", message)


def test_it_is_a_fault_that_every_address_is_the_primarys(monkeypatch):
    watched = replicas_with(monkeypatch, (False, 0))
    assert watched.choose() is None
    assert check_replicas()[0] == HealthStatus.DEGRADED


def test_another_server_that_was_promoted_is_a_fault_beside_one_that_is_read(monkeypatch):
    replicas_with(monkeypatch, (False, 1), (True, 2))
    status, message = check_replicas()
    assert status == HealthStatus.DEGRADED
    assert message.startswith("replica_1: not read, because it is not a standby, or was promoted.")
