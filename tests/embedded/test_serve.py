"""`manage.py serve`: first run, later runs, and errors."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from memory_site.embedded import listen_address
from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.listen_address import Address
from memory_site.embedded.postgres import Postgres
from memory_site.embedded.services import ensure_services
from memory_site.operations.selftest.scratch_site import find_free_port
from tests.embedded.waiting import is_gone, wait_for
from tests.new_site import copy_new_site

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory that the tests of this module use one after the other."""
    return tmp_path_factory.mktemp("serve") / "data"


@pytest.fixture
def port():
    return find_free_port()


def start_serve(data, port, *options, **environment):
    """Start the command; `wait_until_ready` reads what it says until it is."""
    argv = [sys.executable, str(MANAGE), "serve", "--port", str(port), *options]
    env = os.environ | {"DATA_DIR": str(data), "EMBEDDER": "hashing", "PYTHONUNBUFFERED": ""} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(argv, env=env, cwd="/", **pipes)


@pytest.fixture
def serve(data, port):
    """Runs the command on the module's data."""
    started = []

    def serve(*options, **environment):
        started.append(start_serve(data, port, *options, **environment))
        return started[-1]

    yield serve
    for process in started:
        process.kill()
        process.communicate()


@dataclass
class Running:
    """A site without a worker, on a data directory of its own."""

    data: Path
    port: int
    process: subprocess.Popen


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """For tests that leave it running."""
    data, port = tmp_path_factory.mktemp("running") / "data", find_free_port()
    copy_new_site(data)
    process = start_serve(data, port, "--no-worker")
    wait_until_ready(process)
    yield Running(data, port, process)
    process.kill()
    process.communicate()


def wait_until_ready(process):
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("ready in "):
            return "".join(said)
    raise AssertionError(f"it ended: {said} {process.stderr.read()}")


def list_children(process):
    return psutil.Process(process.pid).children(recursive=True)


def fetch_status(port, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.status


def test_first_run_shows_credentials_once_and_stores_them_nowhere(serve, data, port):
    process = serve()
    said = wait_until_ready(process)
    key = re.search(r"API key +(mem_\S+)", said)[1]
    password = re.search(r"Admin password +(\S+)", said)[1]
    assert fetch_status(port, "/health/live") == 200
    assert fetch_status(port, "/api/v1/docs") == 200
    assert f"MCP    http://127.0.0.1:{port}/mcp" in said
    assert {path.name for path in (data / "logs").iterdir()} >= {"web.log", "worker.log", "beat.log", "postgres.log"}
    everything = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert password.encode() not in everything
    assert key.split("_", 2)[2].encode() not in everything
    pids = [child.pid for child in list_children(process)]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout.read() == "stopped\n"
    assert all(map(is_gone, pids))


def test_later_run_shows_addresses_and_no_key(serve, data, port):
    process = serve("--no-worker", WEB_WORKER="2")
    said = wait_until_ready(process)
    assert f"http://127.0.0.1:{port}/admin/" in said
    assert str(data) in said
    assert "key" not in said
    assert not [child for child in list_children(process) if "celery" in " ".join(child.cmdline())]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.stderr.read().count("WEB_WORKER is set") == 1


def test_a_second_serve_names_the_first(running):
    with start_serve(running.data, find_free_port()) as second:
        assert second.wait(60) == 2
        expected = f"already served by process {running.process.pid} at http://127.0.0.1:{running.port}."
        assert expected in second.stderr.read()


def test_busy_port_is_one_line(serve, port):
    with socket.create_server(("127.0.0.1", port)):
        process = serve()
        assert process.wait(60) == 2
    said = process.stderr.read().strip()
    assert said == (
        f"CommandError: Cannot listen on port {port} of 127.0.0.1 (Address already in use): choose another --port."
    )


def test_foreign_directory_is_one_line(serve, data, directory):
    (directory / "thesis.txt").touch()
    argv = [sys.executable, str(MANAGE), "serve"]
    process = subprocess.run(argv, env=os.environ | {"DATA_DIR": str(directory)}, text=True, capture_output=True)
    assert process.returncode == 2
    assert "holds files that are not Memory Site's" in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1
    assert [path.name for path in directory.iterdir()] == ["thesis.txt"]


def test_killed_serve_leaves_no_process_and_can_restart(serve, port):
    process = serve()
    wait_until_ready(process)
    pids = [child.pid for child in list_children(process)]
    process.kill()
    assert wait_for(lambda: all(map(is_gone, pids)))
    assert "ready" in wait_until_ready(serve("--no-worker"))


def test_external_servers_are_not_started(serve, home, port):
    copy_new_site(home.path)
    with ensure_services(home):
        ours = {name.lower(): quote(value, safe="") for name, value in home.database.items()}
        environment = {
            "DATABASE_URL": "postgresql://{user}:{password}@/{name}?host={host}".format(**ours),
            "REDIS_URL": home.broker_url,
            "SECRET_KEY": "a key of the people who run it, long enough",
            "ALLOWED_HOSTS": "memory.example.org",
        }
        process = serve(**environment)
        said = wait_until_ready(process)
        assert "API key" in said
        assert "Data" not in said
        programs = [" ".join(child.cmdline()) for child in list_children(process)]
        assert not [line for line in programs if "postgres" in line or "valkey" in line]
        assert [line for line in programs if "worker" in line]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert Postgres(home).ready


def test_unreachable_database_is_reported_without_a_traceback(serve, directory):
    environment = {
        "DATABASE_URL": f"postgresql://nobody@/nothing?host={directory}",
        "REDIS_URL": f"redis+socket://{directory}/nothing",
        "SECRET_KEY": "a key of the people who run it, long enough",
    }
    process = serve(**environment)
    assert process.wait(60) == 1
    said = process.stderr.read()
    assert said.splitlines()[-1].startswith("CommandError: The database cannot be used: ")
    assert "Traceback" not in said


def test_killed_database_is_restarted(running):
    server = Postgres(DataDirectory(running.data))
    killed = int(server.pid_file.read_text().split()[0])
    os.kill(killed, signal.SIGKILL)

    def is_another_ready():
        with suppress(OSError, IndexError):  # the next server writes the file again
            return server.ready and int(server.pid_file.read_text().split()[0]) != killed

    def is_site_ready():
        with suppress(urllib.error.HTTPError):  # 503 until the site has a connection again
            return fetch_status(running.port, "/health/ready") == 200

    assert wait_for(is_another_ready)
    assert wait_for(is_site_ready)


def test_a_check_that_never_comes_back_delays_no_end(serve, port):
    stuck = {"DJANGO_SETTINGS_MODULE": "tests.stuck_settings", "EMBEDDING_MODEL": "sleeps"}
    process = serve("--no-worker", **stuck)
    wait_until_ready(process)
    with pytest.raises(urllib.error.HTTPError, match="401"):  # after the checks, one of which is stuck
        fetch_status(port, "/health")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_thousand_clients_are_queued(running):
    clients = [socket.create_connection(("127.0.0.1", running.port), timeout=60) for _ in range(1000)]
    for client in clients:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answers = {client.recv(12) for client in clients}
    for client in clients:
        client.close()
    assert answers == {b"HTTP/1.1 200"}


@pytest.mark.parametrize(
    ("host", "near"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")]
)
def test_printed_address_is_reachable(host, near):
    assert Address(host, 8000).url == f"http://{near}:8000"


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 8000), ("127.0.0.1", 70000), ("192.0.2.1", 8000)])
def test_foreign_address_reports_the_reason(host, port):
    assert Address(host, port).get_bind_error()


def test_a_held_address_is_in_use_for_another_run_and_free_for_the_web_server(monkeypatch):
    """While the web server starts there is no listener yet. Two of them would share the requests."""
    monkeypatch.setattr(listen_address, "PORT_WAIT_SECONDS", 0)
    address = Address("127.0.0.1", find_free_port())
    with address.hold(), socket.socket() as web:
        assert "in use" in address.get_bind_error()
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as granian does
            web.setsockopt(socket.SOL_SOCKET, option, 1)
        web.bind(("127.0.0.1", address.port))
        web.listen()
        with socket.create_connection(("127.0.0.1", address.port), timeout=60), web.accept()[0]:
            pass
    assert address.get_bind_error() is None
