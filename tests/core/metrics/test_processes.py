"""Real processes count into one directory. They are killed, forked and followed by others, and nothing is lost."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from memory_site.core.metrics import values
from memory_site.core.metrics.directory import BILLIONTHS, MetricsDirectory
from memory_site.core.metrics.totals import ProcessMetrics
from tests.exposition import read_samples

#: Of counting: after so many times a process waits until it was scraped meanwhile.
PAUSE_AFTER = 500
SPAWN = multiprocessing.get_context("spawn")
STORED = 'memory_site_memories_stored_total{outcome="created"}'
SEARCHED = 'memory_site_requests_total{operation="search_memories",status="200"}'
DURATIONS = 'memory_site_request_duration_seconds_count{operation="search_memories"}'
LIVING = 'memory_site_processes{kind="worker"}'


def count(path: str, times: int, scraped: Any = None, *, forks: bool = False, stays: bool = False) -> None:
    """Do something worth counting so often, in a process of its own. `scraped` is how often it was scraped so far."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = path
    from memory_site.core.metrics import counters  # noqa: PLC0415

    counters.processes.labels("worker").set(1)
    if forks and os.fork() == 0:
        count_work(times, scraped)
        os._exit(0)
    count_work(times, scraped)
    if forks:
        os.wait()
    while stays:
        time.sleep(1)


def count_work(times: int, scraped: Any = None) -> None:
    from memory_site.core.metrics import counters  # noqa: PLC0415

    for number in range(times):
        if scraped is not None and number and number % PAUSE_AFTER == 0:
            before = scraped.value
            while scraped.value == before:
                time.sleep(0.001)
        counters.memories_stored.labels("created").inc()
        counters.count_request("search_memories", 200, 0.003)


def count_until_killed(path: str, done) -> None:
    """Count for ever, and say after each time how often it was."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = path
    while True:
        count_work(1)
        done.value += 1


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MetricsDirectory:
    directory = MetricsDirectory(tmp_path / "metrics")
    directory.start_over()
    # A process that adds up files is waited for, however long it is kept from that.
    monkeypatch.setattr("memory_site.core.metrics.directory.LOCK_SECONDS", 60.0)
    monkeypatch.setattr("memory_site.core.metrics.totals.get_directory", lambda: directory)
    return directory


@pytest.fixture
def start(directory: MetricsDirectory) -> Iterator[Callable[..., SpawnProcess]]:
    started = []

    def start(function: Callable, *arguments: object, **options: object) -> SpawnProcess:
        process = SPAWN.Process(target=function, args=(str(directory.path), *arguments), kwargs=options)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def scrape() -> dict[str, float]:
    """Return the samples by name and labels, as Prometheus reads them."""
    return read_samples(generate_latest(ProcessMetrics()).decode())


def scrape_until(condition: Callable[[], bool], scraped: Any = None) -> list[dict[str, float]]:
    """Scrape with hardly a pause, and say how often in `scraped`. No counter may be less than it was."""
    scrapes, deadline = [scrape()], time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
        scrapes.append(scrape())
        if scraped is not None:
            scraped.value = len(scrapes)
        before, after = scrapes[-2:]
        falling = [name for name in before if after.get(name, 0) < before[name] and "processes" not in name]
        assert not falling, [(name, before[name], after.get(name)) for name in falling]
    return scrapes


def count_files(directory: MetricsDirectory) -> int:
    return len(os.listdir(directory.path))


def test_four_processes_count_while_they_are_scraped(directory, start):
    scraped = SPAWN.RawValue("L", 0)
    workers = [start(count, 5_000, scraped, forks=number == 0) for number in range(4)]
    scrapes = scrape_until(lambda: not any(worker.is_alive() for worker in workers), scraped)
    assert len(scrapes) >= 5_000 // PAUSE_AFTER
    assert [worker.exitcode for worker in workers] == [0] * 4
    last = scrape()
    assert last[STORED] == last[SEARCHED] == last[DURATIONS] == 25_000  # one of them forked
    assert last['memory_site_request_duration_seconds_bucket{le="0.005",operation="search_memories"}'] == 25_000
    assert last['memory_site_request_duration_seconds_sum{operation="search_memories"}'] == pytest.approx(75)
    assert last[LIVING] == 0


def test_a_killed_process_leaves_what_it_has_counted(directory, start):
    done = SPAWN.RawValue("L", 0)  # a lock could die with its holder
    killed = start(count_until_killed, done)
    scrapes = scrape_until(lambda: done.value > 1_000)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert scrape()[STORED] >= scrapes[-1][STORED]
    # It counts first and says so second, and was killed in between, or not.
    assert scrape()[STORED] - done.value in (0, 1)
    start(count, 10).join()
    assert scrape()[STORED] - done.value in (10, 11)


def test_ended_processes_leave_no_file_behind(directory, start, monkeypatch):
    stays = start(count, 1, stays=True)
    scrape_until(lambda: (found := scrape()).get(LIVING) == 1 and found[STORED] == 1)
    monkeypatch.setattr(values, "get_directory", lambda: directory)
    for process in [ProcessFileOfAnother(directory) for _ in range(50)]:
        process.end()
    directory.add_up_ended()
    assert count_files(directory) == 3  # of the living process, of all that ended, and the lock
    assert scrape()[STORED] == 51
    assert stays.is_alive()


class ProcessFileOfAnother:
    """What a process leaves: the kernel takes its lock away when it ends."""

    def __init__(self, directory: MetricsDirectory, counted: float = 1) -> None:
        self.file = directory.open_file()
        self.file.write(stored_key(), counted)

    def end(self) -> None:
        self.file.close()


def stored_key() -> str:
    from memory_site.core.metrics.counters import memories_stored  # noqa: PLC0415

    return memories_stored.labels("created")._value._key


@pytest.mark.parametrize("values", [(0.1, 0.2, 0.3), (0.07, 1e6, 0.07)])
def test_a_total_is_the_same_whichever_process_ends_first(directory, values):
    """As floats, 0.1 + 0.2 + 0.3 is more than 0.3 + 0.2 + 0.1, and a counter would fall by its last digit."""
    totals = set()
    for order in permutations(values):
        directory.start_over()
        for process in [ProcessFileOfAnother(directory, value) for value in order]:
            process.end()
            totals.add(scrape()[STORED])
    assert len(totals) == 1, totals
    assert totals.pop() == pytest.approx(sum(values))


def test_a_kill_while_files_are_added_up_counts_nothing_twice(directory, monkeypatch):
    for process in [ProcessFileOfAnother(directory) for _ in range(3)]:
        process.end()
    # Killed after the sum was written, before the files are removed.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", stop)
        directory.read()
    assert len(directory._list_files()) == 3
    ended, living = directory.read()
    assert (ended, living) == ({stored_key(): 3 * BILLIONTHS}, [])
    assert directory._list_files() == []


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_serve_forgets_what_was_counted_unless_others_still_count(directory):
    ProcessFileOfAnother(directory).end()
    another = ProcessFileOfAnother(directory)
    directory.start_over()
    assert scrape()[STORED] == 2
    another.end()
    directory.start_over()
    assert scrape()[STORED] == 0
    assert os.listdir(directory.path) == ["lock"]


def test_a_reader_does_not_wait_for_ever_for_one_that_stands_still(directory, monkeypatch):
    ProcessFileOfAnother(directory).end()
    monkeypatch.setattr("memory_site.core.metrics.directory.LOCK_SECONDS", 0.2)
    with directory._locked(2, seconds=0) as is_locked:  # exclusive
        assert is_locked
        assert scrape()[STORED] == 1  # inside the block, at whose end the lock ends


def test_a_full_disk_costs_the_counters_and_not_the_process(directory, monkeypatch):
    monkeypatch.setattr(values, "get_directory", lambda: directory)
    storage = values.Storage()
    monkeypatch.setattr(os, "posix_fallocate", refuse_blocks)
    storage.write("key", 1.0)
    storage.write("key", 2.0)
    assert storage.file is None


def refuse_blocks(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_blocks_are_reserved_before_they_are_mapped(directory):
    """A hole in the file would be filled when it is written to, and end the process where the disk is full."""
    file = directory.open_file()
    for number in range(2_000):
        file.write(f'["metric", "sample", {{"label": "{number:0200}"}}, ""]', 1)
    file.close()
    [path] = directory._list_files()
    assert path.stat().st_size > 400_000
    assert path.stat().st_blocks * 512 >= path.stat().st_size


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 5_000, b"\x40\0\0\0" + b"\xff" * 200])
def test_a_damaged_file_hides_no_other(directory, content):
    (directory.path / "damaged.db").write_bytes(content)
    ProcessFileOfAnother(directory).end()
    assert scrape()[STORED] == 1


@pytest.mark.parametrize("content", ["", "[]", "null", '{"billionths": {}}', '{"billionths": {}, "included": null}'])
def test_damaged_totals_of_ended_processes_stop_no_scrape(directory, content):
    (directory.path / "ended.json").write_text(content)
    ProcessFileOfAnother(directory).end()
    assert scrape()[STORED] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_hides_no_other_of_its_process(directory, value):
    process = ProcessFileOfAnother(directory)
    process.file.write('["odd", "odd", {}, ""]', value)
    assert scrape()[STORED] == 1
    process.end()
    assert scrape()[STORED] == 1


def test_a_draft_of_a_process_that_was_killed_as_it_began_is_removed(directory):
    old, new = directory.path / "old.draft", directory.path / "new.draft"
    for draft in (old, new):
        draft.touch()
    os.utime(old, (0, 0))
    scrape()
    assert (old.exists(), new.exists()) == (False, True)
