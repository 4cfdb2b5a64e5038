"""Acknowledged interactions survive killed databases and web servers, and are stored once."""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from urllib3.exceptions import HTTPError

from tests.stack.stack import wait_until

CLIENTS = 4
#: Seconds between a client's additions, and until a client tries no more; additions without a fault around each death.
PAUSE_SECONDS, TIMEOUT_SECONDS, QUIET_ADDITIONS = 0.02, 60, 40
#: Fewer than a session keeps, so that nothing goes for want of room.
MAX_INTERACTIONS = 40


class Storm:
    """Clients that each add to a session of their own, in order, and try every addition until it is acknowledged."""

    def __init__(self, stack):
        self.stack, self.over = stack, threading.Event()
        self.acknowledged: dict[str, list[str]] = {}
        self.failures = 0

    def client(self, number):
        for count in itertools.count():
            if self.over.is_set():
                return
            session = f"client-{number}-{count // MAX_INTERACTIONS}"
            query = f"question {count}"
            if self.until_acknowledged(session, query):
                self.acknowledged.setdefault(session, []).append(query)
            time.sleep(PAUSE_SECONDS)

    def until_acknowledged(self, session, query) -> bool:
        key, until = str(uuid.uuid4()), time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < until:
            with suppress(HTTPError):  # the web server died with the answer in its mouth
                body = {"query": query, "answer": "Yes."}
                answer = self.stack.call("POST", f"/sessions/{session}/interactions", body, Idempotency_Key=key)
                if answer.status == 201:
                    return True
                assert answer.status == 503, answer.data
            self.failures += 1
            time.sleep(0.1)
        return False

    @property
    def total(self) -> int:
        return sum(map(len, list(self.acknowledged.values())))


@pytest.fixture(scope="module")
def storm(shaken, measured):
    storm = Storm(shaken)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(storm.client, number) for number in range(CLIENTS)]
        try:
            for part in ("postgres", "web"):
                wait_until_added(storm, QUIET_ADDITIONS)
                with shaken.frozen_supervisor():
                    killed, failures = shaken.kill(part), storm.failures
                    wait_until(lambda n=failures: storm.failures > n, 60, f"requests fail without {part}")
                before = storm.total + CLIENTS
                back = wait_until(lambda killed=killed, part=part: shaken.is_back(part, killed), 60, f"{part} is back")
                back += wait_until(lambda n=before: storm.total > n, 60, "interactions are added again")
                measured(f"from a killed {part} to added interactions", back)
            wait_until_added(storm, QUIET_ADDITIONS)
        finally:
            storm.over.set()
    for client in clients:
        client.result()
    return storm


def wait_until_added(storm, count):
    """Wait until so many more interactions are acknowledged, however busy the machine is."""
    enough = storm.total + count
    wait_until(lambda: storm.total >= enough, 60, "interactions are added")


def test_outages_interrupted_requests(storm):
    assert storm.total > 100
    assert storm.failures > 0


def test_acknowledged_interactions_are_stored_once_and_in_order(storm):
    for session, queries in storm.acknowledged.items():
        found = storm.stack.call("GET", f"/sessions/{session}/context?limit=100").json()["interactions"]
        assert [each["query"] for each in reversed(found)] == queries
