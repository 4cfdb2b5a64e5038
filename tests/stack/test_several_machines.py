"""Two machines on one PostgreSQL and one broker, with PgBouncer in transaction mode between and four connections."""

import json
import re
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.services import ensure_services
from tests.stack.pgbouncer import NOT_INSTALLED, PROGRAM, running_pgbouncer
from tests.stack.stack import Stack, create_short_directory, run_manage, wait_until

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=NOT_INSTALLED)

WEB_PASSWORD = "sesame"
CLIENTS, ROUNDS, LETTERS = 8, 6, "abcdefgh"
FILE_COUNT = 120
#: The name of the tests' own connections, which do not go through the pooler.
OURS = "ours"
COUNT_CONNECTIONS_SQL = f"""
SELECT count(*) FROM pg_stat_activity WHERE usename IN ('memory', 'memory_web') AND application_name <> '{OURS}'
"""
# As docs/scaling/several-machines.md has it.
CREATE_WEB_ROLE_SQL = f"CREATE ROLE memory_web LOGIN PASSWORD '{WEB_PASSWORD}' IN ROLE memory"


class Machine(Stack):
    """A `serve` that uses the database of another machine."""

    home: DataDirectory

    def connect(self) -> psycopg.Connection:
        return connect(self.home, "memory", self.home.secret("database"))


def connect(home: DataDirectory, role: str, password: str) -> psycopg.Connection:
    address = {"host": home.database["HOST"], "port": home.database["PORT"], "dbname": "memory"}
    return psycopg.connect(**address, user=role, password=password, application_name=OURS, autocommit=True)


@dataclass
class Site:
    """The machines, and what they share."""

    directory: Path
    home: DataDirectory
    environment: dict[str, str]
    machines: list[Machine] = field(default_factory=list)

    def add(self, name: str, *arguments: str) -> Machine:
        (self.directory / name).mkdir()
        machine = Machine(self.directory / name, *arguments, **self.environment)
        machine.home = self.home
        self.machines.append(machine)
        return machine

    def run(self, *arguments: str, **environment: str):
        return run_manage(*arguments, **self.environment | {"DATA_DIR": str(self.directory / "none")} | environment)

    def rows(self, sql: str) -> list[tuple]:
        return self.machines[0].rows(sql)


@pytest.fixture(scope="module")
def site():
    """Two machines that start at the same time on an empty database."""
    with ExitStack() as stack:
        directory = stack.enter_context(create_short_directory())
        home = DataDirectory(directory / "db")
        stack.enter_context(ensure_services(home))
        connect(home, "postgres", home.secret("postgres")).execute(CREATE_WEB_ROLE_SQL).connection.close()
        passwords = {"memory": home.secret("database"), "memory_web": WEB_PASSWORD}
        address = stack.enter_context(running_pgbouncer(directory, home, passwords))
        urls = {role: f"postgresql://{role}:{password}@{address}/memory" for role, password in passwords.items()}
        (directory / "repositories").mkdir()
        site = Site(
            directory,
            home,
            {
                "DATABASE_URL": urls["memory"],
                "WEB_DATABASE_URL": urls["memory_web"],
                "DATABASE_POOLER": "transaction",
                "REDIS_URL": home.broker_url,
                "SECRET_KEY": "of several machines " * 3,
                "HTTPS": "false",
                "EMBEDDER": "hashing",
                "INGESTION_ROOTS": str(directory / "repositories"),
            },
        )
        stack.callback(stop_all, site)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Machine.start, [site.add("first"), site.add("second")]))
        [key] = {machine.key for machine in site.machines} - {""}
        for machine in site.machines:
            machine.key = key
        yield site


def stop_all(site: Site) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(Machine.stop, site.machines))


def test_both_come_up_and_one_creates_the_first_key(site):
    said = "".join(machine.said for machine in site.machines)
    assert len(re.findall(r"API key +mem_\S+", said)) == len(re.findall(r"Admin password +\S+", said)) == 1
    assert site.rows("SELECT count(*) FROM sessions_app_apikey") == [(1,)]
    assert site.rows("SELECT username FROM auth_user") == [("admin",)]
    for machine in site.machines:
        assert machine.page("/health/ready").status == 200
        assert machine.call("GET", "/memories").status == 200


def test_the_settings_are_in_force_through_the_pooler(site):
    result = site.run("doctor", "--format", "json")
    rows = {row["name"]: row["message"] for row in json.loads(result.stdout)}
    assert rows["parameters"] == "All 9 are in force."
    assert site.machines[0].health()["parameters"] == "healthy"
    for role, limits in (("DATABASE_URL", ("0", "0")), ("WEB_DATABASE_URL", ("10s", "3s"))):
        with psycopg.connect(site.environment[role]) as connection:
            shown = connection.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
            assert shown.fetchone() == limits


def test_doctor_tells_that_a_pooler_is_there_when_the_settings_do_not_say_so(site):
    result = site.run("doctor", "--format", "json", DATABASE_POOLER="", WEB_DATABASE_URL="")
    rows = {row["name"]: row["message"] for row in json.loads(result.stdout)}
    assert result.returncode == 3
    assert rows["database"] == "A pooler stands before PostgreSQL: set DATABASE_POOLER=transaction."


def test_eight_clients_on_two_machines_lose_nothing(site):
    most, done = [0], threading.Event()
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watch_connections, site, most, done)
        lives = [pool.submit(live, site.machines[number % 2], number) for number in range(CLIENTS)]
        try:
            kept = [pk for life in lives for pk in life.result()]
        finally:
            done.set()
    watching.result()
    assert len(kept) == len(set(kept)) == CLIENTS * ROUNDS
    stored = {str(pk) for (pk,) in site.rows("SELECT id FROM memories_memory WHERE agent_id = 'life'")}
    assert stored == set(kept)
    wait_until(lambda: site.machines[0].backlog == 0, 60, "all have a vector")
    vectors = site.rows("SELECT count(*) FROM memories_embedding JOIN memories_memory m ON m.id = memory_id")
    assert vectors[0][0] >= len(kept)
    assert 0 < most[0] <= 4


def watch_connections(site: Site, most: list[int], done: threading.Event) -> None:
    """Note the highest number of the pooler's connections, at least once: it keeps them when the work is done."""
    with site.machines[0].connect() as connection:
        is_done = False
        while not is_done:
            is_done = done.wait(0.1)
            [(count,)] = connection.execute(COUNT_CONNECTIONS_SQL).fetchall()
            most[0] = max(most[0], count)


def live(machine: Machine, number: int) -> list[str]:
    """Use the API as one client; return the ids of the memories that must be there at the end."""
    kept = []
    for turn in range(ROUNDS):
        ship = "Zq" + LETTERS[number] * 3 + LETTERS[turn] * 3  # a word of no other memory
        words = f"The {ship} was written into the log of the harbour."
        pk = machine.add(words, agent_id="life", user_id=f"user {number}")["id"]
        gone = machine.add(f"{words} Forget it.", agent_id="life")["id"]
        assert machine.call("PATCH", f"/memories/{pk}", {"tags": ["log"]}).status == 200
        assert machine.call("DELETE", f"/memories/{gone}").status == 204
        assert pk in [hit["memory"]["id"] for hit in machine.search(ship, mode="text")["results"]]
        answer = machine.call("POST", f"/sessions/client-{number}/interactions", {"query": words, "answer": "Noted."})
        assert answer.json()["history_length"] == turn + 1
        context = machine.call("GET", f"/sessions/client-{number}/context?limit=1").json()["interactions"]
        assert [each["query"] for each in context] == [words]
        kept.append(pk)
    conversation = machine.call("POST", "/conversations", {"user_id": f"user {number}"})
    assert conversation.status in (200, 201), conversation.data
    return kept


def test_an_ingestion_is_run_by_one_process(site):
    folder = site.directory / "repositories" / "site"
    folder.mkdir()
    for number in range(FILE_COUNT):
        (folder / f"{number}.md").write_text(f"# File {number}\n\nIt lies in drawer {number}.")
    outcomes = run_at_once(site, ["ingest", str(folder), "--repo-id", "site"])
    assert [code for code, _ in outcomes if code] in ([], [1])
    assert all("Another run" in text for code, text in outcomes if code)
    assert site.rows("SELECT count(*) FROM ingestion_document WHERE repo_id = 'site'") == [(FILE_COUNT,)]
    states = Counter(state for (state,) in site.rows("SELECT status FROM ingestion_ingestion"))
    assert states == {"completed": sum(code == 0 for code, _ in outcomes)}
    assert site.rows("SELECT name FROM leases_lease WHERE name LIKE 'ingestion%'") == []


def test_a_reembedding_is_run_by_one_process(site):
    assert site.run("create_api_key", "--namespace", "second", "--scopes", "read", "write").returncode == 0
    assert site.run("remember", "A second namespace.", "--namespace", "second").returncode == 0
    wait_until(lambda: site.machines[0].rows(COUNT_VECTORS_SQL) == [("hashing-1", 1)], 60, "it has a vector")
    outcomes = run_at_once(site, ["reembed", "--namespace", "second"], EMBEDDING_MODEL="hashing-2")
    assert any(code == 0 and "1 memories have vectors of hashing-2" in text for code, text in outcomes)
    assert sum("have vectors" in text for _, text in outcomes) == 1
    assert site.rows(COUNT_VECTORS_SQL) == [("hashing-2", 1)]


COUNT_VECTORS_SQL = """
SELECT model, count(*) FROM memories_embedding e JOIN sessions_app_namespace n ON n.id = e.namespace_id
WHERE n.name = 'second' GROUP BY model
"""


def run_at_once(site: Site, arguments: list[str], **environment: str) -> list[tuple[int, str]]:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: site.run(*arguments, **environment), range(2)))
    return [(result.returncode, result.stdout + result.stderr) for result in results]


#: In one process, which is cheaper. What they need of a session must end with a transaction.
COMMANDS = """
from django.core.management import call_command
from memories.vacuum import list_parts, vacuum_vectors
call_command("export_memories", "{file}", "--namespace", "default")
call_command("create_api_key", "--namespace", "copied")
for _ in range(2):
    call_command("import_memories", "{file}", "--namespace", "copied")
print(vacuum_vectors(list_parts()))
call_command("refresh_statistics")
"""


def test_long_commands_need_nothing_of_a_session(site):
    result = site.run("shell", "--no-imports", "-c", COMMANDS.format(file=site.directory / "memories.jsonl"))
    assert result.returncode == 0, result.stderr
    assert "VectorRows" in result.stdout
    counts = site.rows(COUNT_MEMORIES_SQL)
    assert counts[0] == counts[1]
    with psycopg.connect(site.environment["WEB_DATABASE_URL"]) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("10s",)


COUNT_MEMORIES_SQL = """
SELECT count(*) FROM memories_memory m JOIN sessions_app_namespace n ON n.id = m.namespace_id
WHERE n.name IN ('default', 'copied') GROUP BY n.name
"""


def find_leader(site: Site) -> int | None:
    """Return the process id of the beat that schedules."""
    holders = site.rows("SELECT holder FROM leases_lease WHERE name = 'beat'")
    return int(holders[0][0].rpartition(":")[2]) if holders else None


def test_one_beat_schedules_and_another_takes_over(site, measured):
    beats = {machine.part("beat").pid for machine in site.machines}
    assert len(beats) == 2
    wait_until(lambda: find_leader(site) in beats, 60, "one of them schedules")
    leader = find_leader(site)
    psutil.Process(leader).kill()
    waited = wait_until(lambda: find_leader(site) not in (leader, None), 60, "another beat schedules")
    measured("from a killed beat to another one that schedules", waited)


def test_a_dead_machine_is_seen_while_another_lives(site):
    first, second = site.machines[:2]
    second.server.send_signal(signal.SIGSTOP)  # it asks no part to end
    dead = second.kill("worker")
    second.stop(signal.SIGKILL)
    site.rows(
        f"UPDATE operations_heartbeat SET seen_at = seen_at - interval '41 s' WHERE name LIKE '%:{dead}' RETURNING 1"
    )
    missing = re.compile(rf"1 of 2 workers are missing: worker \S+:{dead} \(\d+ s ago\)")

    def is_told() -> bool:
        parts = first.page("/health", first.key).json()["components"]
        component = next(each for each in parts if each["name"] == "worker")
        return component["status"] == "degraded" and bool(missing.search(component["message"]))

    wait_until(is_told, 60, "health tells that the worker is missing")


def test_a_machine_without_a_web_server_takes_its_place_and_leaves_on_purpose(site):
    first, third = site.machines[0], site.add("third", "--no-web").start()
    assert third.part("web") is None
    assert third.part("worker") is not None
    wait_until(lambda: first.health()["worker"] == "healthy", 60, "the worker that was killed is not missed any more")
    assert third.stop() == []
    assert third.process.returncode == 0
    assert site.rows("SELECT count(*) FROM operations_heartbeat WHERE kind = 'worker'") == [(1,)]
    assert first.health()["worker"] == "healthy"
