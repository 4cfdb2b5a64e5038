"""Start and stop of the whole site, and messages when it cannot start."""

import re
import socket
from pathlib import Path

from memory_site.operations.selftest.scratch_site import find_free_port
from tests.stack.stack import MANAGE, create_short_directory, find_processes, run_manage

#: Seconds of processor time until it must be ready.
FIRST_START_SECONDS, LATER_START_SECONDS = 30, 20
COMPOSE_FILE = Path(MANAGE).with_name("docker-compose.yml")


def test_first_run_shows_credentials_once(abandoned):
    first, second = abandoned.runs
    assert len(re.findall(r"API key +mem_\S+", first.said)) == 1
    assert len(re.findall(r"Admin password +\S+", first.said)) == 1
    assert "mem_" not in second.said
    assert "password" not in second.said
    assert "mem_" not in first.errors + second.errors


def test_site_starts_within_the_time_limit(abandoned, measured):
    first, second = abandoned.runs
    for name, run in (("first", first), ("later", second)):
        measured(f"{name} start", run.started)
        measured(f"{name} start, of processor time", run.worked)
    assert first.worked < FIRST_START_SECONDS
    assert second.worked < LATER_START_SECONDS


def test_both_signals_stop_everything(abandoned, measured):
    for run in abandoned.runs:
        measured(f"stop by {run.signal.name}", run.stopped)
        assert run.code == 0
        assert run.left == []


def test_memory_survives_a_restart(abandoned):
    assert abandoned.memory_after_restart == abandoned.memory


def test_a_second_serve_names_the_first(stack):
    result = run_manage("serve", "--port", str(find_free_port()), **stack.environment)
    assert result.returncode == 2
    assert f"already served by process {stack.process.pid} at {stack.url}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert stack.page("/health/ready").status == 200


def test_busy_port_is_one_sentence():
    with create_short_directory() as directory, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run_manage("serve", "--port", str(port), DATA_DIR=str(directory / "data"))
        assert result.returncode == 2
        assert f"port {port}" in result.stderr
        assert "--port" in result.stderr
        assert "Traceback" not in result.stderr
        assert find_processes(directory) == []


def test_wrong_settings_are_all_named_at_once():
    wrong = {
        "EMBEDDER": "magic",
        "PG_POOL_SIZE": "many",
        "PG_POOL_TIMEOUT": "-1",
        "LOG_LEVEL": "loud",
        "DATABASE_URL": "mysql://somewhere/else",
        "SECRET_KEY": "short",
    }
    result = run_manage("serve", **wrong)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert set(re.findall(r"^  ([A-Z_]+):", result.stderr, re.MULTILINE)) == set(wrong)


def read_production_settings():
    """The environment that docker-compose.yml gives to the site, with its secrets filled in."""
    block = re.search(r"environment: &environment\n((?:    .*\n)+)", COMPOSE_FILE.read_text())[1]
    secrets = {"POSTGRES_PASSWORD": "sesame", "SECRET_KEY": "".join(map(chr, range(60, 120)))}
    filled = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: secrets[found[1]], block)
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", filled)
    return dict(re.findall(r"^    ([A-Z_]+): (.*?)(?: #.*)?$", filled, re.MULTILINE))


def test_production_settings_pass_every_check():
    settings = read_production_settings()
    assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "EMBEDDER"} <= settings.keys()
    assert "    ALLOWED_HOSTS:\n" in COMPOSE_FILE.read_text()
    assert not [value for value in settings.values() if "$" in value]
    result = run_manage("check", "--deploy", "--fail-level", "WARNING", **settings)
    assert (result.returncode, result.stderr) == (0, "")
    assert "no issues (0 silenced)" in result.stdout
