"""Both servers for a command: joined if they run, else started, and stopped after the last command."""

import subprocess
import sys

import pytest

from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectoryInUse
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.services import ensure_services
from tests.embedded.waiting import wait_for

SERVICES_SCRIPT = """
import sys
from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.services import ensure_services
with ensure_services(DataDirectory(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def command(home):
    """Starts another process that uses the services until its input ends."""
    started = []

    def command():
        argv = [sys.executable, "-c", SERVICES_SCRIPT, str(home.path)]
        process = subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield command
    for process in started:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
    assert wait_for(lambda: not Postgres(home).ready)


def test_a_command_starts_what_it_needs_and_stops_it(home, connect):
    with ensure_services(home), connect(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Broker(home).ready
    assert not Postgres(home).ready
    assert not Broker(home).ready


def test_a_command_inside_a_command_uses_the_same_servers(home):
    with ensure_services(home), ensure_services(home):
        assert Postgres(home).ready


def test_a_command_waits_for_servers_that_another_process_is_starting(home, command):
    first = command()
    lock = home.path / "lock"
    assert wait_for(lambda: lock.exists() and str(first.pid) in lock.read_text())
    with ensure_services(home):
        assert Postgres(home).ready
        assert first.poll() is None


def test_the_first_command_stops_the_servers_only_when_the_second_has_done(home, command, connect):
    first = command()
    assert first.stdout.readline() == "in\n"
    with ensure_services(home), connect(home) as connection:
        first.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.5)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert first.wait(60) == 0


def test_a_command_that_fails_stops_what_it_started(home):
    with pytest.raises(LookupError), ensure_services(home):
        raise LookupError
    assert not Postgres(home).ready
    with home.lock("http://x"), pytest.raises(DataDirectoryInUse), home.lock():
        pass
