"""Acknowledged memories survive a killed database, and a retry never stores twice."""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil
import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import Postgres
from tests.stack.stack import wait_until

CLIENTS, KILLS = 6, 2
#: Seconds between a client's stores; stores without a fault around each death.
PAUSE_SECONDS, QUIET_STORES = 0.02, 40
#: Seconds until a client that tries again does so no more.
TIMEOUT_SECONDS = 60
#: Seconds: an outage after which it matters how patiently a broken connection is tried again.
OUTAGE_SECONDS = 9


class Storm:
    """Clients that store while the database dies: every second one retries until it succeeds.

    `journal` has what was acknowledged, content by id; `retried` the answers to those who try again.
    """

    def __init__(self, stack):
        self.stack = stack
        self.journal, self.failures, self.retried, self.broken = {}, [], {}, []
        self.tries, self.longest = 0, 0.0
        self.over = threading.Event()

    def client(self, number):
        behave = (self.give_up, self.try_again)[number % 2]
        for count in itertools.count():
            if self.over.is_set():
                return
            behave(f"Client {number}, memory {count}, {uuid.uuid4()}.")
            time.sleep(PAUSE_SECONDS)

    def give_up(self, content):
        self.store(content)

    def try_again(self, content):
        """As a careful client does: the same key until there is an answer."""
        key, until = str(uuid.uuid4()), time.monotonic() + TIMEOUT_SECONDS
        while (answer := self.store(content, Idempotency_Key=key)).status == 503 and time.monotonic() < until:
            time.sleep(0.2)
        self.retried[content] = answer

    def store(self, content, **headers):
        started = time.monotonic()
        answer = self.stack.call("POST", "/memories", {"content": content}, **headers)
        self.tries, self.longest = self.tries + 1, max(self.longest, time.monotonic() - started)
        if answer.status in (200, 201):
            self.journal[answer.json()["id"]] = content
        else:
            self.failures.append(answer)
        return answer


@contextmanager
def run_storm(storm):
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(storm.client, number) for number in range(CLIENTS)]
        try:
            yield
        finally:
            storm.over.set()
    for client in clients:
        client.result()


@pytest.fixture(scope="module")
def storm(shaken, measured):
    storm = Storm(shaken)
    with run_storm(storm):
        for _ in range(KILLS):
            wait_until_stored(storm, QUIET_STORES)
            killed, acknowledged = shaken.kill("postgres"), len(storm.journal) + CLIENTS
            back = wait_until(lambda killed=killed: shaken.is_back("postgres", killed), 60, "postgres runs again")
            back += wait_until(lambda n=acknowledged: len(storm.journal) > n, 60, "memories are stored again")
            measured("from a killed database to stored memories", back)
        wait_until_stored(storm, QUIET_STORES)
    measured(f"the longest of {storm.tries} answers, {len(storm.failures)} of them 503", storm.longest)
    storm.stored = dict(shaken.rows("SELECT id::text, content FROM memories_memory WHERE content LIKE 'Client %'"))
    return storm


def wait_until_stored(storm, count):
    """Wait until so many more memories are acknowledged, however busy the machine is."""
    enough = len(storm.journal) + count
    wait_until(lambda: len(storm.journal) >= enough, 60, "memories are stored")


def is_unavailable_problem(answer):
    return (
        answer.status == 503
        and answer.headers["Content-Type"] == "application/problem+json"
        and int(answer.headers["Retry-After"]) > 0
        and answer.json()["status"] == 503
    )


def test_acknowledged_memories_survive(storm):
    assert len(storm.journal) > 100
    assert storm.journal.items() <= storm.stored.items()


def test_every_retry_reports_the_memory_as_created(storm):
    """Also if the first attempt was stored and its response lost: the key gets the first response."""
    assert {(answer.status, answer.json()["created"]) for answer in storm.retried.values()} == {(201, True)}


def test_nothing_is_stored_twice(storm):
    assert len(set(storm.stored.values())) == len(storm.stored)


def test_every_failure_is_a_problem_document(storm):
    assert [answer.data for answer in storm.failures if not is_unavailable_problem(answer)] == []


def test_while_the_database_stays_away_every_answer_is_a_problem(shaken, measured):
    """In bounded time: all answers are there before it comes back."""

    def seconds(ask):
        started = time.monotonic()
        return ask(), time.monotonic() - started

    def store(number):
        return seconds(lambda: shaken.call("POST", "/memories", {"content": f"Never stored, {number}."}))

    with shaken.frozen_supervisor(), ThreadPoolExecutor(CLIENTS) as pool:
        killed, away_since = shaken.kill("postgres"), time.monotonic()
        stores = [pool.submit(store, number) for number in range(CLIENTS)]
        live, live_took = seconds(lambda: shaken.page("/health/live"))
        answers = [each.result() for each in stores]
        ready, ready_took = seconds(lambda: shaken.page("/health/ready"))
        health, health_took = seconds(lambda: shaken.page("/health", shaken.key))
        time.sleep(max(0.0, away_since + OUTAGE_SECONDS - time.monotonic()))
    measured("a store without a database, longest", max(took for _, took in answers))
    measured("health/live, ready and health without a database, longest", max(live_took, ready_took, health_took))
    assert all(is_unavailable_problem(answer) for answer, _ in answers)
    assert (live.status, ready.status, health.status) == (200, 503, 503)
    wait_until(lambda: shaken.is_back("postgres", killed), 60, "postgres runs again")
    wait_until(lambda: Postgres(DataDirectory(shaken.data)).ready, 60, "postgres answers again")
    back = wait_until(lambda: store(0)[0].status in (200, 201), 60, "memories are stored again")
    measured(f"from the return of a database that was away for {OUTAGE_SECONDS} s to a store", back)


def test_a_stuck_child_of_the_dead_server_does_not_keep_the_next_one_away(shaken, measured):
    """It holds the shared memory of the dead, so the next server refuses to start as long as it is there."""
    with shaken.connect() as ours:
        stuck = psutil.Process(ours.info.backend_pid)
        stuck.suspend()
        try:
            shaken.kill("postgres", spare=stuck)
            back = wait_until(lambda: shaken.page("/health/ready").status == 200, 60, "it is ready with a stuck child")
            measured("from a killed database with a stuck child to ready", back)
        finally:
            with suppress(psutil.NoSuchProcess):
                stuck.kill()


def test_the_site_is_whole_again(shaken):
    wait_until(lambda: shaken.page("/health/ready").status == 200, 60, "it is ready")
    wait_until(lambda: shaken.backlog == 0, 60, "everything is embedded")
    wait_until(lambda: shaken.health()["all"] == "healthy", 150, "everything is healthy")
