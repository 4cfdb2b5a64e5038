"""Commands beside a running site, without one, and without a database."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from memory_site.operations.health.checks import CHECKS
from tests.stack.stack import create_short_directory, find_processes, run_manage, wait_until

UNREACHABLE_SERVICES = {
    "DATABASE_URL": "postgresql://memory:secret@127.0.0.1:1/memory",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "nowhere-" * 8,
    "PG_POOL_TIMEOUT": "2",
}


def run_beside(stack, *arguments):
    return run_manage(*arguments, **stack.environment)


@pytest.mark.parametrize(("command", "others"), [("health", set()), ("doctor", {"python", "settings"})])
def test_commands_succeed_beside_a_running_site(stack, command, others):
    """Within a minute: each check has three seconds, which a busy machine may take."""
    wait_until(lambda: stack.health()["all"] == "healthy", 60, "everything is healthy")
    until = time.monotonic() + 60
    while (result := run_beside(stack, command, "--format", "json")).returncode and time.monotonic() < until:
        pass
    assert (result.returncode, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert {row["name"]: row["status"] for row in rows} == dict.fromkeys({*CHECKS, *others}, "healthy")


def test_failing_component_is_named_with_its_fix(stack):
    with stack.frozen("broker"):
        result = run_beside(stack, "doctor")
    assert result.returncode == 3
    line = next(line for line in result.stdout.splitlines() if line.startswith("broker"))
    assert "degraded" in line
    assert "make run" in line
    assert "need attention" in result.stderr
    assert "Traceback" not in result.stderr


def test_command_does_not_wait_for_an_unneeded_broker(stack):
    with stack.frozen("broker"):
        assert run_beside(stack, "counts").returncode == 0


def test_doctor_advises_to_start_servers_that_are_not_the_sites_own():
    table = run_manage("doctor", **UNREACHABLE_SERVICES).stdout
    assert "start the server, or correct DATABASE_URL" in table
    assert "start the server, or correct REDIS_URL" in table
    assert "make run" not in table
    assert "…" not in table


@pytest.mark.parametrize(("command", "code"), [("health", 3), ("doctor", 3), ("recent", 1), ("counts", 1)])
def test_unreachable_database_is_one_sentence(command, code):
    result = run_manage(command, **UNREACHABLE_SERVICES)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "secret" not in result.stdout + result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("CommandError: ")]


def test_commands_without_a_site_share_temporary_servers(abandoned):
    """One starts them, all three use them, the last one stops them."""
    pk = abandoned.memory["id"]
    commands = [("show", pk), ("recent", "--format", "jsonl"), ("counts", "--format", "json")]
    with ThreadPoolExecutor(len(commands)) as threads:
        shown, recent, counts = threads.map(lambda words: run_beside(abandoned, *words), commands)
    assert [result.returncode for result in (shown, recent, counts)] == [0, 0, 0], shown.stderr + recent.stderr
    assert json.loads(shown.stdout)["content"] == abandoned.memory["content"]
    assert [json.loads(line)["id"] for line in recent.stdout.splitlines()] == [pk]
    assert [(row["memory_type"], row["memories"]) for row in json.loads(counts.stdout)] == [("agent", 1)]
    assert find_processes(abandoned.data) == []


def test_unmigrated_database_is_one_sentence():
    with create_short_directory() as directory:
        result = run_manage("recent", DATA_DIR=str(directory / "data"))
        assert result.returncode == 1
        assert "manage.py migrate" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert find_processes(directory) == []


def test_missing_objects_are_one_sentence(stack):
    result = run_beside(stack, "show", "0198c0de-0000-7000-8000-000000000000")
    assert (result.returncode, result.stderr) == (1, "CommandError: There is no such memory.\n")
    result = run_beside(stack, "recent", "--namespace", "nobody's")
    assert result.returncode == 2
    assert "There is no namespace" in result.stderr
