"""`manage.py dbshell`: the bundled psql, without a running site, beside one, and on an external server."""

import signal
import subprocess
import sys
from urllib.parse import quote

import pytest

from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.postgres import MAJOR_VERSION, Postgres
from memory_site.embedded.services import ensure_services
from tests.embedded.waiting import wait_for
from tests.stack.stack import MANAGE, build_environment, create_short_directory, find_processes, run_manage

QUESTION = ("dbshell", "--", "-XAtc", "SELECT current_user, current_database()", "-c", r"\echo :VERSION_NAME")


@pytest.fixture(scope="module")
def running():
    """The home of a server that runs, for tests that leave it running."""
    with create_short_directory() as directory:
        home = DataDirectory(directory / "home")
        with ensure_services(home):
            yield home


def run_shell(home, *words, **environment):
    return run_manage(*words, DATA_DIR=str(home.path), **environment)


def test_shell_starts_a_server_and_leaves_nothing(home, directory):
    (directory / "user").mkdir()
    result = run_shell(home, *QUESTION, HOME=str(directory / "user"))
    assert (result.returncode, result.stderr) == (0, "")
    answer, version = result.stdout.splitlines()
    assert answer == "memory|memory"
    assert version.startswith(f"{MAJOR_VERSION}.")
    assert find_processes(directory) == []
    assert list((directory / "user").iterdir()) == []
    password = home.secret("database").encode()
    holding = [path for path in home.path.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert holding == [home.path / "secrets" / "database"]


def test_shell_joins_a_running_server_and_spares_it(running):
    assert run_shell(running, *QUESTION).returncode == 0
    assert Postgres(running).ready


def test_shell_opens_an_external_server(home, running):
    ours = {name.lower(): quote(value, safe="") for name, value in running.database.items()}
    url = "postgresql://{user}:{password}@/{name}?host={host}".format(**ours)
    result = run_shell(home, *QUESTION, DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1", SECRET_KEY="s" * 50)
    assert result.stdout.startswith("memory|memory\n")


def test_failure_of_psql_is_the_exit_code(running):
    result = run_shell(running, "dbshell", "--", "-X", "-v", "ON_ERROR_STOP=1", "-f", "/dev/null/nothing")
    assert result.returncode == 1
    assert running.secret("database") not in result.stdout + result.stderr


@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_psql_and_the_server(home, directory, request_to_stop):
    argv = [sys.executable, str(MANAGE), "dbshell", "--", "-XAt"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    shell = subprocess.Popen(argv, env=build_environment(DATA_DIR=str(home.path)), cwd="/", **pipes)
    shell.stdin.write("SELECT 'open';\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == "open\n"
    shell.send_signal(request_to_stop)
    assert shell.wait(60) == 128 + request_to_stop
    assert wait_for(lambda: find_processes(directory) == [])
    shell.stdin.close()
    shell.stdout.close()
