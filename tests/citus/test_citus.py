"""The product on a Citus cluster, of which CITUS_URL names the coordinator: the address of a database there that has
the extension and knows the workers. The tests make databases of their own and drop them again.

With CITUS_NODE, a shell command in which {action} becomes `stop` or `start`, one of the workers is stopped too.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory
from tests.stack.stack import MANAGE, Stack, build_environment, create_short_directory, run_manage, wait_until

CITUS_URL, CITUS_NODE = os.environ.get("CITUS_URL", ""), os.environ.get("CITUS_NODE", "")
pytestmark = [
    pytest.mark.citus,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not CITUS_URL, reason="CITUS_URL names no coordinator of a Citus cluster"),
]
NAMESPACES = [f"space {number}" for number in range(8)]
SELECT_PLACES_SQL = """
SELECT name, nodeport FROM sessions_app_namespace space
JOIN pg_dist_placement ON shardid = get_shard_id_for_distribution_column('memories_memory', space.id)
JOIN pg_dist_node USING (groupid) WHERE name LIKE 'space %'
"""
SELECT_WORKERS_SQL = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid > 0 AND noderole = 'primary'"
LIFE_TIMEOUT_SECONDS = 900
#: In the middle of the work of `distribute`, which takes some ten seconds.
KILLED_AFTER_SECONDS = 5


class Cluster:
    """A database of its own on every node of the cluster."""

    def __init__(self, name: str) -> None:
        self.name = name
        with psycopg.connect(CITUS_URL, autocommit=True) as connection:
            coordinator = (connection.info.host, connection.info.port)
            self.nodes = [coordinator, *connection.execute(SELECT_WORKERS_SQL).fetchall()]

    def url(self, number: int = 0, database: str = "") -> str:
        url, (host, port) = urlsplit(CITUS_URL), self.nodes[number]
        person = url.netloc.rpartition("@")[0]
        return url._replace(netloc=f"{person}@{host}:{port}", path=f"/{database}" if database else url.path).geturl()

    def run(self, number: int, *statements: str, database: str = "") -> None:
        with psycopg.connect(self.url(number, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))

    def create(self) -> None:
        for number in range(len(self.nodes)):
            self.run(number, "CREATE DATABASE {}")
            self.run(number, "CREATE EXTENSION citus", "CREATE EXTENSION vector", database=self.name)
        (host, port), *workers = self.nodes
        adding = [f"SELECT citus_add_node('{host}', {port})" for host, port in workers]
        self.run(0, f"SELECT citus_set_coordinator_host('{host}', {port})", *adding, database=self.name)

    def answers(self, number: int) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url(number), connect_timeout=3):
            return True
        return False

    def drop(self) -> None:
        for number in range(len(self.nodes)):
            self.run(number, "DROP DATABASE IF EXISTS {} WITH (FORCE)")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with create_short_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(f"memory_site_test_{os.getpid()}")
    try:
        cluster.create()
        yield cluster
    finally:
        cluster.drop()


@pytest.fixture(scope="module")
def environment(cluster: Cluster, directory: Path) -> Iterator[dict[str, str]]:
    """The variables of a site on the cluster, with a broker of its own."""
    home = DataDirectory(directory / "data")
    with Broker(home):
        yield {
            "DATABASE_URL": cluster.url(database=cluster.name),
            "REDIS_URL": f"redis+socket://{home.broker_socket}",
            "SECRET_KEY": "distributed-" * 5,
            "EMBEDDER": "hashing",
            "HTTPS": "false",
            "DATA_DIR": str(directory / "site"),
        }


@pytest.fixture(scope="module")
def keys(environment: dict[str, str]) -> dict[str, str]:
    """A migrated database with namespaces that have a memory each; the token of a key of each."""
    run(environment, "migrate")
    return {name: fill(environment, name) for name in NAMESPACES}


def fill(environment: dict[str, str], namespace: str) -> str:
    key = run(environment, "create_api_key", "--namespace", namespace).strip().splitlines()[-1]
    run(
        environment, "remember", f"The harbour of {namespace} opens at nine.", "--namespace", namespace, "--user", "ada"
    )
    return re.search(r"mem_\S+", key)[0]


@pytest.fixture(scope="module")
def distributed(environment: dict[str, str], keys: dict[str, str]) -> dict[str, str]:
    """A site's variables, after the filled database was distributed by a second run: the first one was killed."""
    assert "Nothing stands in the way" in run(environment, "distribute", "--check")
    argv = [sys.executable, str(MANAGE), "distribute"]
    with subprocess.Popen(argv, env=build_environment(**environment), stderr=subprocess.DEVNULL) as killed:
        time.sleep(KILLED_AFTER_SECONDS)
        killed.kill()
    assert " 0 tables" not in run(environment, "distribute", "--check")
    run(environment, "distribute")
    return environment


def run(environment: dict[str, str], *arguments: str) -> str:
    done = run_manage(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_distributed_rows_are_those_of_before(distributed):
    for name in NAMESPACES:
        assert f"The harbour of {name} opens at nine." in run(distributed, "recent", "--namespace", name)


def test_a_second_run_has_nothing_to_do(distributed):
    assert " 0 tables" in run(distributed, "distribute", "--check")
    run(distributed, "distribute")


def test_every_step_of_a_sites_life_works(distributed, directory):
    argv = [sys.executable, "-m", "tests.citus.life", str(directory)]
    env = build_environment(**distributed)
    done = subprocess.run(
        argv, env=env, cwd=MANAGE.parent, capture_output=True, text=True, timeout=LIFE_TIMEOUT_SECONDS
    )
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    failed = [step for step in steps if not step["ok"]]
    print(f"{len(steps)} steps, {len(failed)} failed")
    assert not failed, "\n".join(f"{step['step']}: {step['error']}" for step in failed)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(not CITUS_NODE, reason="CITUS_NODE is no command that stops and starts a worker")
def test_a_node_that_is_away_takes_only_its_namespaces_away(distributed, cluster, keys, directory):
    site = Stack(directory / "stack", **distributed)
    site.data.parent.mkdir()
    with psycopg.connect(cluster.url(database=cluster.name)) as connection:
        places = dict(connection.execute(SELECT_PLACES_SQL).fetchall())
    try:
        site.start()
        with stopped_node(cluster) as away:
            check_answers(site, keys, {name: port == away for name, port in places.items()})
            readiness = site.page("/health/ready")
            assert readiness.status == 200
            assert readiness.json()["status"] == "degraded"
            doctor = run_manage("doctor", **distributed)
            assert f":{away} does not answer" in doctor.stdout
        wait_until(lambda: count_answers(site, keys) == len(keys), 30, "every namespace answers again")
    finally:
        site.stop()


def check_answers(site: Stack, keys: dict[str, str], is_away: dict[str, bool]) -> None:
    """Store in every namespace: 503 from those of the node that is away, and vectors for the others."""
    assert set(is_away.values()) == {True, False}
    for name, key in keys.items():
        stored = site.call("POST", "/memories", {"content": f"A ship in {name}."}, Authorization=f"Bearer {key}")
        assert stored.status == (503 if is_away[name] else 201), (name, stored.data)
        if is_away[name]:
            assert stored.headers["Retry-After"]
            continue
        path = f"/memories/{stored.json()['id']}"
        wait_until(lambda path=path, key=key: get(site, path, key).json()["embedded"], 60, f"{name} is embedded")


def get(site: Stack, path: str, key: str):
    return site.call("GET", path, Authorization=f"Bearer {key}")


def count_answers(site: Stack, keys: dict[str, str]) -> int:
    return sum(get(site, "/memories", key).status == 200 for key in keys.values())


@contextmanager
def stopped_node(cluster: Cluster) -> Iterator[int]:
    """Stop a worker inside the block. Yield its port."""
    control_node("stop")
    try:
        [away] = [port for number, (_, port) in enumerate(cluster.nodes) if not cluster.answers(number)]
        yield away
    finally:
        control_node("start")


def control_node(action: str) -> None:
    subprocess.run(CITUS_NODE.format(action=action), shell=True, check=True, stdout=subprocess.DEVNULL)
