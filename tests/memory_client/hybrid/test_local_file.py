"""The local file: whose it is, what it survives, and what it refuses."""

import os
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from memory_client.hybrid import Limits, LocalFileBusy, LocalFileError, LocalFileFull, OutboxFull, forks
from memory_client.hybrid.outbox import Entry, read_next
from memory_client.hybrid.schema import MIGRATIONS
from tests.memory_client.servers import Answer, Request, running


def count(path, table):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


def test_nobody_else_reads_the_file(memory, path):
    memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    files = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    assert {path.name, f"{path.name}-wal", f"{path.name}-shm"} <= {each.name for each in files}
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_what_was_stored_before_a_kill_is_there(run_agent, open_local, path):
    agent = run_agent("write_until_killed", path)
    stored = [agent.stdout.readline().strip() for _ in range(30)]
    agent.kill()
    agent.wait()
    stored += agent.stdout.read().split()
    memory = open_local()
    assert all(memory.get(memory_id) for memory_id in stored)
    assert memory.status().waiting >= len(stored)
    assert count(path, "outbox") == count(path, "memories")


def test_threads_of_two_processes_write_to_one_file(run_agent, open_local, path):
    agents = [run_agent("write_with_threads", path, name, 4, 60) for name in ("one", "two")]
    stored = [memory_id for agent in agents for memory_id in agent.communicate(timeout=180)[0].split()]
    memory = open_local()
    assert len(set(stored)) == 120
    assert {node.id for node in memory.get_memory("ada").nodes()} == set(stored)
    assert memory.status().waiting == 120


def test_a_process_sees_what_another_one_changed(open_local):
    one, two = open_local(), open_local()
    memory_id = one.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    assert [hit.node.id for hit in two.retrieve("ada", "tea")] == [memory_id]
    two.update_persistent_memory(memory_id, content="Ada likes coffee.")
    assert one.retrieve("ada", "tea") == []
    assert one.delete_persistent_memory(memory_id)
    assert two.retrieve("ada", "coffee") == []


def test_a_forked_process_has_a_memory_of_its_own(memory, monkeypatch):
    monkeypatch.setattr(forks, "MAX_WAIT_SECONDS", 60)
    memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    child = os.fork()
    if child == 0:
        try:
            memory.store_persistent_memory("ada", "Ada has a child.", "business_fact")
            os._exit(0 if len(memory.get_memory("ada")) == 2 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    memory.store_persistent_memory("ada", "Ada has a parent.", "business_fact")
    assert len(memory.get_memory("ada")) == 3


def test_a_fork_waits_for_threads_that_use_the_file(memory, monkeypatch):
    """One of SQLite's own locks, held by such a thread, would be locked for ever in the child."""
    monkeypatch.setattr(forks, "MAX_WAIT_SECONDS", 60)
    is_inside, has_left = threading.Event(), []

    def read():
        with memory.database.read():
            is_inside.set()
            time.sleep(0.3)
            has_left.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    assert is_inside.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if has_left else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


class Announced:
    """A lock that says when another thread wants it."""

    def __init__(self, lock):
        self.lock, self.release, self.is_wanted = lock, lock.release, threading.Event()

    def acquire(self, timeout):
        self.is_wanted.set()
        return self.lock.acquire(timeout=timeout)


def test_a_fork_in_the_middle_of_a_transaction_waits_for_no_end_of_it(memory, monkeypatch):
    """Nor do threads hold it up that wait for that end, such as the one that sends."""
    monkeypatch.setattr(forks, "MAX_WAIT_SECONDS", 150)
    database = memory.database
    database.busy_seconds = 200
    with database.write():
        database._writing = lock = Announced(database._writing)
        waiting = threading.Thread(target=memory.save_checkpoint, args=["booking", {"step": 1}])
        waiting.start()
        assert lock.is_wanted.wait(60)
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert time.monotonic() - begun < 100
    waiting.join()
    memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")


def test_a_full_file_says_so_and_holds_nothing_by_halves(open_local, path):
    memory = open_local(limits=Limits(file_bytes=400_000))
    texts, stored = (f"{number} " * 200 for number in range(1000)), []
    with pytest.raises(LocalFileFull):
        stored.extend(memory.store_persistent_memory("ada", text, "business_fact") for text in texts)
    assert len(stored) > 10
    assert count(path, "memories") == count(path, "outbox") == len(stored)
    assert memory.get(stored[-1]).text.startswith(f"{len(stored) - 1} ")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine allows no mounts")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_loses_nothing(small_disk, open_local):
    path = small_disk / "agent.db"
    memory, stored = open_local(path=path), []
    texts = [f"{number} " * 100 for number in range(1000)]
    with pytest.raises(LocalFileFull):
        stored.extend(memory.store_persistent_memory("ada", text, "business_fact") for text in texts)
    assert len(stored) > 10
    with pytest.raises(LocalFileFull):
        memory.update_persistent_memory(stored[0], content="Too late. " * 1000)
    assert {node.id for node in memory.get_memory("ada").nodes()} == set(stored)
    memory.close()
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    memory = open_local(path=path)
    assert [memory.get(each).text for each in stored] == texts[: len(stored)]
    assert memory.status().waiting == count(path, "outbox") == len(stored)
    memory.store_persistent_memory("ada", "There is room again.", "business_fact")


def test_a_disk_without_any_room_says_so(small_disk, open_local):
    with suppress(OSError):
        (small_disk / "other").write_bytes(bytes(1 << 22))
    with pytest.raises(LocalFileFull):
        open_local(path=small_disk / "agent.db")


def test_a_limit_of_file_sizes_is_a_full_disk(run_agent, open_local, path):
    *stored, error = run_agent("write_until_too_large", path, 1_000_000).communicate(timeout=180)[0].split()
    assert error == "LocalFileFull"
    assert len(stored) > 10
    memory = open_local()
    assert {node.id for node in memory.get_memory("ada").nodes()} == set(stored)
    assert memory.status().waiting == len(stored)


def test_a_file_locked_by_another_program_says_so(open_local, path):
    memory = open_local(busy_seconds=0.1)
    other = sqlite3.connect(path, timeout=60, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LocalFileBusy):
        memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    other.execute("ROLLBACK")
    other.close()
    assert len(memory.get_memory("ada")) == 0
    for _ in range(600):  # the thread that sends may be writing
        with suppress(LocalFileBusy):
            memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
            break
    assert len(memory.get_memory("ada")) == 1


def test_the_outbox_is_bounded(open_local, path):
    memory = open_local(limits=Limits(outbox=3))
    for number in range(3):
        memory.store_persistent_memory("ada", f"Fact {number}.", "business_fact")
    with pytest.raises(OutboxFull):
        memory.store_persistent_memory("ada", "Fact 3.", "business_fact")
    assert count(path, "memories") == 3


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE TABLE theirs (a)", "belongs to another program"),
        (f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "newer version"),
    ],
    ids=["another program's", "a newer version's"],
)
def test_a_file_that_is_not_ours_is_left_alone(open_local, path, script, message):
    other = sqlite3.connect(path)
    other.execute(script)
    other.close()
    before = path.read_bytes()
    with pytest.raises(LocalFileError, match=message):
        open_local()
    assert path.read_bytes()[100:] == before[100:]


def test_a_file_of_the_first_version_is_migrated_with_what_waits(open_local, path):
    memory = open_local()
    memory_id = memory.store_persistent_memory("ada", "Ada likes tea.", "business_fact")
    memory.close()
    with closing(sqlite3.connect(path)) as file:
        file.executescript("DROP INDEX outbox_unsent; ALTER TABLE outbox DROP COLUMN batch; PRAGMA user_version = 1")
    memory = open_local()
    assert [each.memory_id for each in list_next(memory)] == [memory_id]


def list_next(memory) -> list[Entry]:
    """The writes of the next request."""
    with memory.database.read() as connection:
        return read_next(connection, 10)


def test_no_database_at_all(open_local, path):
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LocalFileError):
        open_local()


def test_a_server_that_hangs_holds_up_all_callers_at_once(open_local):
    together = threading.Barrier(3)

    def answer(request: Request) -> Answer:
        together.wait(60)
        return Answer(503)

    with running(answer) as server, ThreadPoolExecutor(3) as pool:
        memory = open_local(url=server.url)
        assert [len(view) for view in pool.map(memory.ensure_user_memories, ("ada", "ben", "cleo"))] == [0, 0, 0]
    assert not together.broken


def test_a_closed_memory_says_so(open_local):
    memory = open_local()
    memory.close()
    with pytest.raises(LocalFileError, match="closed"):
        memory.store_transient_memory("thread-1", "Late.", "temporary_state")
