"""A site of several web processes is scraped while it works: counters never fall, and equal what was done."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from memory_site.operations.selftest.scratch_site import find_free_port
from tests.exposition import read_samples
from tests.stack.stack import Stack, run_manage, running_stack, wait_until

STORED = 'memory_site_memories_stored_total{outcome="created"}'
EMBEDDED = 'memory_site_embedding_texts_total{outcome="embedded"}'
DONE = {
    "store": 'memory_site_requests_total{operation="add_memory",status="201"}',
    "search": 'memory_site_searches_total{mode="text",outcome="found"}',
    "miss": 'memory_site_requests_total{operation="get_memory",status="404"}',
}

WEB_PROCESSES, CLIENTS, PARTS, ROUNDS = 3, 4, 5, 5
WORK = CLIENTS * PARTS * ROUNDS


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    with running_stack(
        EMBEDDER="hashing", WEB_WORKERS=str(WEB_PROCESSES), PG_POOL_SIZE="4", METRICS_PORT=str(find_free_port())
    ) as stack:
        yield stack


def scrape(site: Stack, path: str = "/metrics") -> dict[str, float]:
    response = site.page(path, site.key)
    assert response.status == 200, response.data
    return read_samples(response.data.decode())


def work(site: Stack, client: int, start: int) -> None:
    for number in range(start, start + ROUNDS):
        site.add(f"The harbour of client {client} has berth {number}.")
        assert site.search("harbour", mode="text")["results"]
        assert site.call("GET", "/memories/01999999-0000-7000-8000-000000000000").status == 404


def work_together(site: Stack, start: int) -> list[dict[str, float]]:
    """Have four clients work at once, and return what was scraped meanwhile. They work in parts, each with a scrape: on
    a busy machine one scrape may take as long as a part."""
    scrapes = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for first in range(start, start + PARTS * ROUNDS, ROUNDS):
            clients: list[Future] = [pool.submit(work, site, client, first) for client in range(CLIENTS)]
            scrapes.append(scrape(site))
            while not all(client.done() for client in clients):
                scrapes.append(scrape(site))
            for client in clients:
                client.result()
    return scrapes


def list_falling(scrapes: list[dict[str, float]]) -> list[str]:
    counters = [name for name in scrapes[-1] if "_total{" in name or "_bucket{" in name or "_count{" in name]
    return [
        name for before, after in pairwise(scrapes) for name in counters if after.get(name, 0) < before.get(name, 0)
    ]


def list_failed_collectors(figures: dict[str, float]) -> list[str]:
    return [name for name, value in figures.items() if name.startswith("memory_site_collector_success") and not value]


def find_web_processes(site: Stack) -> list[psutil.Process]:
    """The children of granian that serve; another one of it looks after resources."""
    children = [each for each in site.part("web").children() if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in children if "resource_tracker" not in " ".join(each.cmdline())]


def test_counters_never_fall_and_equal_what_was_done(site):
    before = scrape(site)
    scrapes = [before, *work_together(site, 0)]

    processes = find_web_processes(site)
    assert len(processes) == WEB_PROCESSES
    os.kill(processes[0].pid, signal.SIGKILL)
    # A zombie's threads may still hold its connections; after it was waited for, nothing does.
    wait_until(lambda: not processes[0].is_running(), 60, "the process is gone")
    scrapes += [scrape(site)]
    wait_until(lambda: len(find_web_processes(site)) == WEB_PROCESSES, 60, "another one is there")
    scrapes += work_together(site, PARTS * ROUNDS)

    output = run_manage("remember", "A command counts as well.", **site.environment)
    assert output.returncode == 0, output.stderr
    wait_until(lambda: site.backlog == 0, 60, "everything is embedded")
    scrapes += [scrape(site)]
    assert not list_falling(scrapes)

    done = {name: scrapes[-1][sample] - before.get(sample, 0) for name, sample in DONE.items()}
    assert done == dict.fromkeys(DONE, 2 * WORK)
    rows = site.rows("SELECT count(*) FROM memories_memory")[0][0]
    assert scrapes[-1][STORED] == rows == 2 * WORK + 1
    wait_until(lambda: scrape(site)[EMBEDDED] == rows, 60, "every text is counted that was embedded")


def test_files_are_those_of_the_living(site):
    wait_until(lambda: scrape(site)['memory_site_processes{kind="web"}'] == WEB_PROCESSES, 60, "all processes sample")
    directory = Path(site.environment["DATA_DIR"]) / "metrics"
    living = WEB_PROCESSES + 2  # worker and beat
    wait_until(lambda: len(list(directory.glob("*.db"))) == living, 60, "only the files of the living are there")
    assert {path.name for path in directory.iterdir() if path.suffix != ".db"} <= {"ended.json", "lock"}
    assert (directory.stat().st_mode & 0o777) == 0o700


def test_the_site_and_its_parts_are_seen(site):
    wait_until(lambda: scrape(site).get('memory_site_heartbeats{kind="beat",state="alive"}') == 1, 60, "beat lives")
    wait_until(lambda: not list_failed_collectors(scrape(site)), 60, "every collector succeeds")
    figures = scrape(site)
    assert figures["memory_site_up"] == 1
    assert figures['memory_site_heartbeats{kind="worker",state="alive"}'] == 1
    assert figures['memory_site_processes{kind="worker"}'] == figures['memory_site_processes{kind="beat"}'] == 1
    assert figures['memory_site_task_runs_total{outcome="success",task="memories.tasks.embed_due"}'] > 0
    assert figures['memory_site_task_messages_total{outcome="sent"}'] > 0
    assert figures['memory_site_process_cpu_seconds_total{kind="web"}'] > 0


def test_a_worker_shows_what_its_machine_counts_at_a_port_of_its_own(site):
    def ask(path: str, token: str = ""):
        url = f"http://127.0.0.1:{site.environment['METRICS_PORT']}{path}"
        return site.http.request("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    shown, here = read_samples(ask("/metrics", site.key).data.decode()), scrape(site)
    assert shown[STORED] == here[STORED]
    assert "memory_site_up" not in shown  # the store's figures are the web server's
    assert [ask("/metrics").status, ask("/metrics", "mem_wrong").status, ask("/").status] == [401, 401, 404]
    assert ask("/").headers["Content-Type"] == "application/problem+json"


def test_a_scrape_is_cheap(site, measured):
    """Of an idle site. The first one reads the figures, the others within ten seconds have them."""
    times = []
    for _ in range(10):
        started = time.monotonic()
        scrape(site)
        times.append(time.monotonic() - started)
    measured("scrape, median of 10", sorted(times)[5])
    assert min(times) < 1
