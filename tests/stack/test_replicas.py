"""A site with a streaming replica that lags, freezes, dies and is promoted, and a primary that is replaced by it.

Eight clients write and read all the while: what was acknowledged is found by its writer at once, wherever they read.
"""

import json
import re
import threading
import time
import uuid
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar
from types import SimpleNamespace
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.stack.cluster import Cluster, frozen, kill
from tests.stack.stack import Stack, create_short_directory, run_manage, wait_until
from tests.wire import SAMPLE_ID, list_replica_reads

CLIENTS, PAUSE_SECONDS, MAX_LAG_SECONDS = 8, 0.05, 10
#: Answers of either kind that the clients must have seen.
ENOUGH_ANSWERS = 50
EVENTUAL = re.compile(r"eventual; server=(replica_[12]); lag=([0-9.]+)")


@dataclass
class Answer:
    status: int
    asked_at: float
    took: float
    lag: float | None  # None: from the primary
    headers: dict = field(repr=False)
    body: dict | None = field(repr=False, default=None)


class Clients:
    """They store memories and look for them. `faults`: what no client may meet, in words."""

    def __init__(self, stack):
        self.stack, self.over = stack, threading.Event()
        self.journal, self.faults, self.answers = {}, [], []
        self.last_from_replica = 0.0
        self.latest: dict[int, float] = {}  # when each client asked for its latest answer

    def run(self, number):
        while not self.over.is_set():
            content = f"Client {number} wrote {uuid.uuid4()}."
            stored = self.ask("POST", "/memories", {"content": content}, X_Consistency="eventual")
            if stored.status == 201:
                self.journal[stored.body["id"]] = content
                self.read_back(stored)
            time.sleep(PAUSE_SECONDS)

    def read_back(self, stored):
        memory, stored_at = f"/memories/{stored.body['id']}", stored.asked_at + stored.took
        self.require(self.ask("GET", memory), "a read from the primary misses its own write")
        token = stored.headers.get("X-Consistency-Token")
        if token:
            found = self.ask("GET", memory, X_Consistency="eventual", X_Consistency_Token=token)
            self.require(found, "a read with a token misses its own write")
        found = self.ask("GET", memory, X_Consistency="eventual")
        if found.lag is None or stored_at < found.asked_at - found.lag:
            self.require(found, "a replica is staler than it says")
        self.require(self.ask("POST", "/memories/search", {"query": "wrote"}, X_Consistency="eventual"), "no search")

    def require(self, answer, fault):
        if answer.status not in (200, 503):
            self.faults.append((fault, answer))

    def ask(self, method, path, body=None, **headers):
        asked_at = time.monotonic()
        response = self.stack.call(method, path, body, **headers)
        answer = Answer(response.status, asked_at, time.monotonic() - asked_at, read_lag(response), response.headers)
        answer.body = response.json() if response.data else None
        if answer.status >= 500 and not (answer.status == 503 and "Retry-After" in answer.headers):
            self.faults.append(("an error that is no 503", answer))
        if answer.lag is not None:
            self.last_from_replica = max(self.last_from_replica, asked_at)
        self.answers.append(answer)
        self.latest[threading.get_ident()] = asked_at
        return answer

    def count_sources(self):
        return Counter("replica" if answer.lag is not None else "primary" for answer in list(self.answers))

    def wait_for_answers(self):
        """Wait until each client has an answer to what it has asked from now on."""
        since = time.monotonic()
        wait_until(lambda: all(asked_at > since for asked_at in list(self.latest.values())), 60, "all have answers")

    def wait_for_replica(self):
        """Wait until a replica is read, from now on."""
        since = time.monotonic()
        return wait_until(lambda: self.last_from_replica > since, 60, "the replica is read")

    def wait_for_primary(self):
        """Wait until no replica has been read for a while; seconds until the last one was, from now on."""
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - max(since, self.last_from_replica) > 2, 60, "no replica is read")
        return max(self.last_from_replica - since, 0.0)


def read_lag(response):
    found = EVENTUAL.fullmatch(response.headers.get("X-Consistency", ""))
    return float(found[2]) if found else None


@contextmanager
def running(clients):
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(clients.run, number) for number in range(CLIENTS)]
        try:
            yield
        finally:
            clients.over.set()
    for client in running:
        client.result()


@pytest.fixture(scope="module")
def cluster():
    with create_short_directory() as directory:
        cluster = Cluster(directory)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def site(cluster):
    """A request waits six seconds for a connection, and lists read the replica unasked."""
    bounds = {"PG_POOL_TIMEOUT": "6", "DATABASE_REPLICA_MAX_LAG": str(MAX_LAG_SECONDS), "EMBEDDER": "hashing"}
    bounds |= {"DEFAULT_CONSISTENCY": "eventual", "EMBEDDING_LEASE": "5"}
    with create_short_directory() as directory:
        stack = Stack(directory, **cluster.environment, **bounds)
        left = ()
        try:
            yield stack.start()
        finally:
            left = stack.stop() if stack.process else ()
        assert not left


def log_in(site):
    """What a browser does, in the console: cookies are kept as long as they last."""
    jar = CookieJar()
    opener = build_opener(HTTPCookieProcessor(jar))

    def browse(method, path, form=None):
        token = next((cookie.value for cookie in jar if cookie.name == "csrftoken"), "")
        data = None if form is None else urlencode(form | {"csrfmiddlewaretoken": token}).encode()
        with opener.open(Request(site.url + path, data, method=method), timeout=60) as answer:
            return SimpleNamespace(status=answer.status, headers=answer.headers, text=answer.read().decode())

    browse("GET", "/admin/login/")
    browse("POST", "/admin/login/", {"username": "admin", "password": site.password})
    return browse


def find_links(page):
    """Return the addresses of the lists that a page of the console links to."""
    return sorted(set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/)"', page)))


def find_part(site, name):
    parts = site.page("/health", site.key).json()["components"]
    return next(SimpleNamespace(**part) for part in parts if part["name"] == name)


@pytest.fixture(scope="module")
def sources(site):
    """What answers each operation that reads, when it is asked for nothing that exists, by the name of the operation.

    The first question begins the watch.
    """
    wait_until(lambda: read_lag(site.call("GET", "/memories", X_Consistency="eventual")) is not None, 60, "it is read")
    ids = defaultdict(lambda: SAMPLE_ID)
    return {str(each): ask_replica(site, each.method, each.url(ids), each.example()) for each in list_replica_reads()}


def ask_replica(site, method, path, body=None):
    """Return what a replica answers, or at last the primary: a replica that is delayed is not read for a while."""
    until = time.monotonic() + 60
    while True:
        answer = site.call(method, path, body, X_Consistency="eventual")
        if read_lag(answer) is not None or time.monotonic() > until:
            return answer
        time.sleep(0.5)


@pytest.fixture(scope="module")
def storm(cluster, site, sources, measured):
    """Every fault in turn; `left_out` has the seconds for which the replica was read after each."""
    clients, left_out = Clients(site), {}
    with running(clients):
        measured("from the first request to a read from the replica", clients.wait_for_replica())
        wait_until(lambda: clients.count_sources()["replica"] > ENOUGH_ANSWERS, 60, "the replica has answered")
        cluster.execute(cluster.standby, "SELECT pg_wal_replay_pause()")
        left_out["lags"] = clients.wait_for_primary() - MAX_LAG_SECONDS
        cluster.execute(cluster.standby, "SELECT pg_wal_replay_resume()")
        measured("from the end of a lag to a read from the replica", clients.wait_for_replica())
        with frozen(cluster.standby):
            left_out["is frozen"] = clients.wait_for_primary()
            clients.wait_for_answers()
        measured("from the end of a freeze to a read from the replica", clients.wait_for_replica())
        kill(cluster.standby)
        left_out["is killed"] = clients.wait_for_primary()
        cluster.standby.start()
        measured("from the restart of a killed replica to a read from it", clients.wait_for_replica())
        cluster.promote()
        left_out["is promoted"] = clients.wait_for_primary()
        wait_until(lambda: clients.count_sources()["primary"] > ENOUGH_ANSWERS, 60, "the primary has answered")
        wait_until(lambda: len(clients.journal) > ENOUGH_ANSWERS, 60, "memories are stored")
    for fault, seconds in left_out.items():
        measured(f"a replica that {fault} was read", max(seconds, 0))
    measured(f"the longest of {len(clients.answers)} answers", max(answer.took for answer in clients.answers))
    clients.left_out = left_out
    return clients


def test_every_operation_that_reads_is_answered_by_the_replica(sources):
    """Also if it finds nothing; none of them writes, which a replica refuses."""
    assert len(sources) > 40
    elsewhere = {name: answer.headers.get("X-Consistency") for name, answer in sources.items() if not read_lag(answer)}
    assert elsewhere == {}
    assert {name: answer.status for name, answer in sources.items() if answer.status not in (200, 404)} == {}


def test_replicas_take_turns(site, sources):
    def list_servers():
        answers = [ask_replica(site, "GET", "/memories") for _ in range(6)]
        return [EVENTUAL.match(answer.headers["X-Consistency"])[1] for answer in answers]

    turns = ["replica_1", "replica_2"] * 3
    wait_until(lambda: list_servers() in (turns, turns[::-1]), 60, "they take turns")


@pytest.mark.parametrize(
    ("path", "headers", "answered_by"),
    [
        ("/memories", {}, "replica"),
        ("/sessions/none/context", {}, "replica"),
        ("/memories", {"X_Consistency": "strong"}, "strong"),
        (f"/memories/{SAMPLE_ID}", {}, None),
        (f"/memories/{SAMPLE_ID}", {"X_Consistency": "eventual"}, "replica"),
        ("/memories", {"X_Consistency_Token": "FFFFFFFF/0"}, None),
        ("/search", {"Idempotency_Key": "a"}, None),
    ],
)
def test_lists_read_the_replica_by_default_and_single_objects_the_primary(site, sources, path, headers, answered_by):
    method, body = ("POST", {"query": "tea"}) if path == "/search" else ("GET", None)

    def find_source():
        answer = site.call(method, path, body, **headers)
        return "replica" if read_lag(answer) is not None else answer.headers.get("X-Consistency")

    if answered_by == "replica":  # which is not read for a while when it was delayed
        wait_until(lambda: find_source() == answered_by, 60, "it is answered by a replica")
    else:
        assert [find_source() for _ in range(4)] == [answered_by] * 4


def test_a_context_with_expired_interactions_is_read_from_the_replica(site, sources, cluster):
    """It has something to remove, which only the primary can."""
    said = {"query": "Tea?", "answer": "Yes."}
    old = said | {"timestamp": (datetime.now(UTC) - timedelta(minutes=30)).isoformat()}
    assert site.call("POST", "/sessions/brief/interactions", {"interactions": [old, said]}).status == 201
    cluster.execute(cluster.primary, "UPDATE sessions_app_sessionmemory SET ttl_hours = 0.25")
    answers = []

    def is_read_from_replica():
        answers.append(site.call("GET", "/sessions/brief/context", X_Consistency="eventual"))
        return read_lag(answers[-1]) is not None and len(answers[-1].json()["interactions"]) == 1

    wait_until(is_read_from_replica, 60, "the replica has the session")
    assert cluster.execute(cluster.primary, "SELECT jsonb_array_length(history) FROM sessions_app_sessionmemory") == [
        (2,)
    ]


def test_pages_of_the_console_read_the_replica_until_something_is_changed(site, sources):
    browser = log_in(site)
    pages = find_links(browser("GET", "/admin/").text)
    assert len(pages) > 15
    for page in ("/admin/memories/memory/", *pages[::3]):
        wait_until(lambda page=page: "X-Consistency" in browser("GET", page).headers, 60, f"{page} reads a replica")
    browser("POST", "/admin/memories/memory/", {})
    assert "X-Consistency" not in browser("GET", "/admin/memories/memory/").headers


def test_the_replica_answers_the_reads_that_may_be_stale(storm):
    sources = storm.count_sources()
    assert min(sources["replica"], sources["primary"]) > ENOUGH_ANSWERS, sources


def test_a_replica_that_cannot_be_read_is_left_out(storm):
    """The storm has waited for it after each fault."""
    assert storm.left_out.keys() == {"lags", "is frozen", "is killed", "is promoted"}


def test_no_client_misses_its_own_write_or_gets_an_error(storm):
    assert storm.faults == []
    assert [answer for answer in storm.answers if answer.status == 503] == []


def test_nothing_that_was_acknowledged_is_lost(storm, cluster):
    stored = dict(cluster.execute(cluster.primary, "SELECT id::text, content FROM memories_memory"))
    assert storm.journal.items() <= stored.items()
    assert len(storm.journal) > ENOUGH_ANSWERS


def test_health_tells_that_a_promoted_server_is_no_replica(storm, site):
    reason = "not read, because it is not a standby, or was promoted."
    expected = ("degraded", f"replica_1: {reason} replica_2: {reason}")

    def find_report():
        part = find_part(site, "replicas")
        return part.status, part.message

    wait_until(lambda: find_report() == expected, 60, expected[1])
    ready = site.page("/health/ready")
    assert (ready.status, ready.json()) == (200, {"status": "degraded"})


@pytest.fixture(scope="module")
def failover(storm, cluster, site, measured):
    """The primary is stopped while clients write, and the standby takes its place; what they meet, and seconds."""
    cluster.copy_anew()
    clients = Clients(site)
    with running(clients):
        clients.wait_for_replica()

        def is_healthy():
            clients.healthy = find_part(site, "replicas")
            return clients.healthy.status == "healthy"

        wait_until(is_healthy, 60, "both names are read")
        cluster.primary.stop()
        time.sleep(1)  # longer than any process remembers a key
        clients.read_in_outage = [clients.ask("GET", "/memories", X_Consistency="eventual") for _ in range(3)]
        acknowledged = len(clients.journal)
        cluster.promote()
        clients.promoted_at, promoted = cluster.execute(cluster.standby, "SELECT now()")[0][0], time.monotonic()
        wait_until(lambda: len(clients.journal) > acknowledged + CLIENTS, 60, "the promoted server is written to")
        clients.writing_after = time.monotonic() - promoted
        time.sleep(1)
    measured("from the promotion of the standby to writes in it", clients.writing_after)
    clients.embedded_after = wait_until(lambda: site.backlog == 0, 60, "the worker embeds what was stored")
    measured("until the worker had embedded what was stored", clients.embedded_after)
    return clients


def test_health_tells_how_far_a_replica_is_behind(failover):
    assert failover.healthy.status == "healthy"
    assert re.fullmatch(r"(replica_[12]: [0-9.]+ s behind at most\. ?){2}", failover.healthy.message)


def test_the_replica_is_read_while_there_is_no_primary(failover):
    assert [(answer.status, answer.lag is not None) for answer in failover.read_in_outage] == [(200, True)] * 3


def test_the_site_goes_on_with_the_promoted_standby(failover):
    assert failover.faults == []


def test_nothing_is_lost_with_a_primary_that_was_stopped(failover, cluster):
    stored = dict(cluster.execute(cluster.standby, "SELECT id::text, content FROM memories_memory"))
    assert failover.journal.items() <= stored.items()


def test_heartbeats_of_all_processes_go_on(failover, cluster):
    """Beat sends its own to the worker, so it shows that both follow the new primary."""

    def find_seen():
        rows = cluster.execute(cluster.standby, "SELECT kind, seen_at FROM operations_heartbeat")
        return {kind for kind, seen_at in rows if seen_at > failover.promoted_at}

    wait_until(lambda: find_seen() == {"web", "worker", "beat"}, 60, "they are seen again")


def test_commands_find_the_promoted_standby(failover, site):
    doctor = run_manage("doctor", "--format", "json", **site.environment)
    statuses = {row["name"]: row["status"] for row in json.loads(doctor.stdout)}
    assert statuses | {"database": "healthy", "replicas": "degraded"} == statuses
    assert doctor.returncode == 3
