"""Commands beside a running site, without one, and with nothing where the database should be."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stack.stack import create_short_directory, find_processes, run_manage, wait_until

UNREACHABLE_SERVICES = {
    "DATABASE_URL": "postgresql://memory:secret@127.0.0.1:1/memory",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "nowhere-" * 8,
    "PG_POOL_TIMEOUT": "2",
}
DOCTOR_CHECKS = {
    *("database", "pgvector", "migrations", "broker", "worker", "beat", "embedder", "embedding", "models", "histories"),
    "disk",
}


def run_beside(stack, *arguments):
    return run_manage(*arguments, **stack.environment)


@pytest.mark.parametrize(("command", "others"), [("health", set()), ("doctor", {"python"})])
def test_all_is_well_beside_a_running_site(stack, command, others):
    wait_until(lambda: stack.health()["all"] == "healthy", 45, "everything is healthy")
    told = run_beside(stack, command, "--format", "json")
    assert (told.returncode, told.stderr) == (0, "")
    rows = json.loads(told.stdout)
    assert {row["name"]: row["status"] for row in rows} == dict.fromkeys(DOCTOR_CHECKS | others, "healthy")


def test_a_part_that_is_ill_is_named_with_what_mends_it(stack):
    with stack.frozen("broker"):
        told = run_beside(stack, "doctor")
    assert told.returncode == 3
    line = next(line for line in told.stdout.splitlines() if line.startswith("broker"))
    assert "degraded" in line
    assert "make run" in line
    assert "need attention" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_command_does_not_wait_for_a_broker_that_it_does_not_need(stack):
    with stack.frozen("broker"):
        assert run_beside(stack, "counts").returncode == 0


@pytest.mark.parametrize(("command", "code"), [("health", 3), ("doctor", 3), ("recent", 1), ("counts", 1)])
def test_a_database_that_is_nowhere_is_a_sentence(command, code):
    told = run_manage(command, **UNREACHABLE_SERVICES)
    assert told.returncode == code, told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    assert "secret" not in told.stdout + told.stderr
    assert [line for line in told.stderr.splitlines() if line.startswith("CommandError: ")]


def test_commands_without_a_running_site_share_the_servers_they_are_lent(abandoned):
    """One starts them, all three use them, the last one stops them."""
    pk = abandoned.memory["id"]
    commands = [("show", pk), ("recent", "--format", "jsonl"), ("counts", "--format", "json")]
    with ThreadPoolExecutor(len(commands)) as threads:
        shown, recent, counts = threads.map(lambda words: run_beside(abandoned, *words), commands)
    assert [told.returncode for told in (shown, recent, counts)] == [0, 0, 0], shown.stderr + recent.stderr
    assert json.loads(shown.stdout)["content"] == abandoned.memory["content"]
    assert [json.loads(line)["id"] for line in recent.stdout.splitlines()] == [pk]
    assert [(row["memory_type"], row["memories"]) for row in json.loads(counts.stdout)] == [("agent", 1)]
    assert find_processes(abandoned.data) == []


def test_a_directory_that_was_never_served_is_a_sentence():
    with create_short_directory() as directory:
        told = run_manage("recent", DATA_DIR=str(directory / "data"))
        assert told.returncode == 1
        assert "manage.py migrate" in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
        assert find_processes(directory) == []


def test_what_is_not_there_is_a_sentence(stack):
    told = run_beside(stack, "show", "0198c0de-0000-7000-8000-000000000000")
    assert (told.returncode, told.stderr) == (1, "CommandError: There is no such memory.\n")
    told = run_beside(stack, "recent", "--namespace", "nobody's")
    assert told.returncode == 2
    assert "There is no namespace" in told.stderr
