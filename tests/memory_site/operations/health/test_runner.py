"""Health checks end in time, whatever a check does: in threads, and in the processes of the commands."""

import json
import threading
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from memory_site.operations.health import migrations, runner
from memory_site.operations.health.checks import CHECKS, Check
from memory_site.operations.health.results import HealthStatus
from memory_site.operations.health.runner import check_components, check_components_in_processes
from tests.embedders import MISHAPS
from tests.stack.stack import run_manage

#: pytest has threads of its own, a command has none.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def environment(db):
    """The suite's own database and broker, for a command in another process."""
    database = {name.lower(): quote(str(value), safe="") for name, value in settings.DATABASES["default"].items()}
    return {
        "DATABASE_URL": "postgresql://{user}:{password}@/{name}?host={host}".format(**database),
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "SECRET_KEY": "long enough for the settings " * 2,
        "EMBEDDER": "hashing",
        "DJANGO_SETTINGS_MODULE": "tests.stuck_settings",
    }


@pytest.mark.parametrize(("command", "mishap"), [*(("health", mishap) for mishap in MISHAPS), ("doctor", "aborts")])
def test_commands_end_with_their_own_exit_code(command, mishap, environment):
    result = run_manage(command, "--format", "json", EMBEDDING_MODEL=mishap, **environment)
    assert result.returncode == 3, result.stderr
    assert result.stderr.splitlines()[-1].startswith("CommandError: ")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["embedder"]["status"] == "degraded"
    assert rows["embedder"]["message"] in ("No answer within 3 s.", "The check crashed.")
    healthy = {name for name, row in rows.items() if row["status"] == "healthy"}
    assert healthy >= {"database", "pgvector", "migrations", "disk"}


@pytest.fixture
def late(monkeypatch):
    """A check called `late` that waits until the test is over; returns the threads it ran in."""
    over, threads = threading.Event(), []

    def wait():
        threads.append(threading.current_thread())
        over.wait()
        return HealthStatus.HEALTHY, "At last."

    monkeypatch.setitem(CHECKS, "late", Check(wait, HealthStatus.UNHEALTHY, "wait"))
    monkeypatch.setattr(runner, "CHECK_TIMEOUT_SECONDS", 0.2)
    yield threads
    over.set()
    for thread in threads:
        thread.join()


def test_a_late_check_is_degraded_and_not_started_again(late, monkeypatch):
    start = runner.start_thread

    def start_and_await_others(name, found):
        thread = start(name, found)
        thread.join(0 if name == "late" else 60)
        return thread

    monkeypatch.setattr(runner, "start_thread", start_and_await_others)
    for _ in range(3):
        embedder, waiting = check_components(("embedder", "late"))
        assert (embedder.status, waiting.status) == (HealthStatus.HEALTHY, HealthStatus.DEGRADED)
        assert waiting.message == "No answer within 0 s."
    assert len(late) == 1


def test_a_check_runs_again_when_it_has_come_back(late, monkeypatch):
    check_components(("late",))
    monkeypatch.setattr(runner, "CHECK_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setitem(CHECKS, "late", Check(lambda: (HealthStatus.HEALTHY, "Back."), HealthStatus.UNHEALTHY, ""))
    monkeypatch.setitem(runner._late_threads, "late", threading.Thread())  # one that has ended
    assert check_components(("late",))[0].message == "Back."


def test_a_late_database_is_unhealthy(late, monkeypatch):
    monkeypatch.setitem(CHECKS, "database", CHECKS["late"])
    assert check_components(("database",))[0].status is HealthStatus.UNHEALTHY


@forks
def test_processes_are_gone_afterwards(late, monkeypatch):
    pids = []
    start = runner.start_process
    monkeypatch.setattr(runner, "start_process", lambda name: pids.append(start(name)) or pids[-1])
    check_components_in_processes(("late", "embedder"))
    assert len(pids) == 2
    for check in pids:
        with pytest.raises(ChildProcessError):
            runner.is_reaped(check.pid)


@forks
def test_an_error_of_a_check_is_its_result(monkeypatch):
    def fail():
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(CHECKS, "failing", Check(fail, HealthStatus.DEGRADED, "mend it"))
    for run in (check_components, check_components_in_processes):
        (component,) = run(("failing",))
        assert (component.status, component.message, component.mend) == (
            HealthStatus.DEGRADED,
            "first line",
            "mend it",
        )


@forks
def test_a_healthy_check_may_advise(monkeypatch):
    advice = (HealthStatus.HEALTHY, "It works.", "try another model")
    monkeypatch.setitem(CHECKS, "advising", Check(lambda: advice, HealthStatus.DEGRADED, "mend it"))
    for run in (check_components, check_components_in_processes):
        (component,) = run(("advising",))
        assert (component.status, component.message, component.mend) == advice


def test_missing_migrations_are_counted(db):
    assert migrations.count_missing_migrations() == 0
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'ingestion'")
    assert migrations.count_missing_migrations() == len(
        [name for label, name in migrations.list_migration_files() if label == "ingestion"]
    )


def test_migration_files_are_those_that_django_finds():
    loader = MigrationLoader(None)
    assert set(migrations.list_migration_files()) == set(loader.disk_migrations)
