"""`make backups`: what searches notice of a backup, and what backup and verification cost beside plain pg_dump.

A server with memories starts first. Clients search and store with pauses, in a process of their own, in turn without
and with a backup that is being made. Then each round makes a plain dump, a backup, a plain restore and a verification.
Only the ratios between the rows of one run mean something.
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import urllib3
from rich.console import Console
from rich.table import Table

#: Seconds between two requests of a client: four of them send about twenty a second.
PAUSE_SECONDS = 0.15
SEARCHERS, STORERS = 3, 1
LOAD_COLUMNS = ("searches", "n", "p50 ms", "p95 ms", "p95 of without", "stored", "failed")
COST_COLUMNS = ("", "plain s", "ours s", "ratio", "plain MB", "ours MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="memories to load (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the measurements (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-site-backups-") as directory:
        os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
        os.environ |= {"EMBEDDER": "hashing", "LOG_LEVEL": "ERROR"}
        run(arguments, Path(directory))


def run(arguments: argparse.Namespace, directory: Path) -> None:
    from tests.benchmarks.overload import load_namespaces  # noqa: PLC0415  (reads the settings)
    from tests.benchmarks.run import run_server  # noqa: PLC0415

    console = Console(width=140)
    with run_server() as (url, _), ProcessPoolExecutor(1, get_context("spawn")) as processes:
        key, _ = load_namespaces(arguments.rows)
        console.print(measure_load(url, key, arguments.rounds, processes))
        console.print(measure_costs(directory, arguments.rounds))


def measure_load(url: str, key: str, rounds: int, processes: ProcessPoolExecutor) -> Table:
    """Searches without a backup, while one is made, and while a worker verifies it."""
    from memory_site.operations.backups.make import make_backup  # noqa: PLC0415

    measured: dict[str, list[Answers]] = {"without": [], "with a backup": [], "with a verification": []}
    texts = build_texts()
    with get_context("spawn").Manager() as manager:
        seconds = measure_seconds(make_backup)  # also warms the caches
        for _ in range(rounds):
            for name, work in zip(measured, (lambda: time.sleep(seconds), make_backup, verify_gently), strict=True):
                ended = manager.Event()
                future = processes.submit(send, url, key, texts, ended)
                time.sleep(2)  # the clients have started
                work()
                ended.set()
                measured[name].append(future.result())
    return build_load_table(measured, rounds)


class Answers:
    """What the clients of one turn got."""

    def __init__(self) -> None:
        self.search_seconds: list[float] = []
        self.seconds: list[float] = []  # of every request
        self.statuses: Counter[str] = Counter()


def build_texts() -> list[str]:
    """A thousand queries of four words, rare ones and frequent ones."""
    from tests.benchmarks.data import build_word  # noqa: PLC0415  (needs the settings)

    chance = random.Random(15)
    return [" ".join(build_word(int(chance.paretovariate(0.5)) % 20_000) for _ in range(4)) for _ in range(1000)]


def send(url: str, key: str, texts: list[str], ended: Event) -> Answers:
    answers = Answers()
    clients = [(number, number < SEARCHERS) for number in range(SEARCHERS + STORERS)]
    threads = [threading.Thread(target=run_client, args=(url, key, texts, *each, ended, answers)) for each in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def run_client(
    url: str, key: str, texts: list[str], number: int, searches: bool, ended: Event, answers: Answers
) -> None:
    http, chance = urllib3.PoolManager(retries=False), random.Random(time.monotonic_ns() + number)
    headers = {"Authorization": f"Bearer {key}"}
    while not ended.is_set():
        text = chance.choice(texts)
        body = {"query": text, "limit": 10} if searches else {"content": f"{text} {chance.random()}"}
        started = time.perf_counter()
        try:
            path = "/api/v1/memories/search" if searches else "/api/v1/memories"
            answers.statuses[str(http.request("POST", f"{url}{path}", json=body, headers=headers).status)] += 1
        except urllib3.exceptions.HTTPError as error:
            answers.statuses[type(error).__name__] += 1
        answers.seconds.append(time.perf_counter() - started)
        if searches:
            answers.search_seconds.append(answers.seconds[-1])
        time.sleep(PAUSE_SECONDS)


def build_load_table(measured: dict[str, list[Answers]], rounds: int) -> Table:
    table = Table(*LOAD_COLUMNS, title=f"{SEARCHERS} clients search, {STORERS} stores; {rounds} turns each")
    seconds = {name: sorted(s for each in turns for s in each.search_seconds) for name, turns in measured.items()}
    alone = find_quantile(seconds["without"], 0.95)
    for name, turns in measured.items():
        statuses = sum((each.statuses for each in turns), Counter())
        failed = sum(count for status, count in statuses.items() if status not in ("200", "201"))
        median, high = (find_quantile(seconds[name], share) for share in (0.5, 0.95))
        figures = (f"{1000 * median:.0f}", f"{1000 * high:.0f}", f"{high / alone:.2f}")
        stored = statuses.total() - len(seconds[name])
        table.add_row(name, str(len(seconds[name])), *figures, str(stored), str(failed))
    return table


def find_quantile(values: list[float], share: float) -> float:
    return values[min(int(share * len(values)), len(values) - 1)]


def measure_costs(directory: Path, rounds: int) -> Table:
    """Plain pg_dump and pg_restore in turn with a backup and its verification."""
    from memory_site.operations.backups.make import make_backup  # noqa: PLC0415  (needs the settings)
    from memory_site.operations.backups.verify import verify_backup  # noqa: PLC0415

    file = directory / "plain.dump"
    plain: dict[str, list[float]] = {"backup": [], "verification": []}
    ours: dict[str, list[float]] = {"backup": [], "verification": []}
    for _ in range(rounds):
        plain["backup"].append(measure_seconds(dump_plainly, file))
        ours["backup"].append(measure_seconds(make_backup))
        stored = find_latest()
        plain["verification"].append(measure_seconds(restore_plainly, file))
        ours["verification"].append(measure_seconds(verify_backup, stored))
        assert find_latest().is_verified
    sizes = (f"{size / 1e6:.0f}" for size in (file.stat().st_size, stored.path.stat().st_size))
    return build_cost_table(plain, ours, tuple(sizes))


def build_cost_table(plain: dict[str, list[float]], ours: dict[str, list[float]], sizes: tuple[str, ...]) -> Table:
    table = Table(*COST_COLUMNS, title="Medians; verification is compared with pg_restore alone")
    medians = [(name, statistics.median(plain[name]), statistics.median(ours[name])) for name in plain]
    together = ("together", sum(row[1] for row in medians), sum(row[2] for row in medians))
    for name, theirs, own in (*medians, together):
        table.add_row(name, f"{theirs:.1f}", f"{own:.1f}", f"{own / theirs:.2f}", *(sizes if name == "backup" else ()))
    return table


def verify_gently() -> None:
    """As the worker does at night."""
    from memory_site.operations.backups.verify import verify_backup  # noqa: PLC0415  (needs the settings)

    verify_backup(find_latest(), gentle=True)


def find_latest():
    from memory_site.operations.backups.folder import find_stored  # noqa: PLC0415  (needs the settings)

    return find_stored("latest")


def dump_plainly(file: Path) -> None:
    run_program("pg_dump", "--format=custom", f"--file={file}")


def restore_plainly(file: Path) -> None:
    """As the manual advises: one job per processor, up to four. The extension came with template1."""
    from memory_site.operations.backups.database import connect, drop_database  # noqa: PLC0415

    with connect() as opened:
        opened.execute("CREATE DATABASE plain")
    jobs = min(os.cpu_count() or 1, 4)
    run_program("pg_restore", "--no-comments", f"--jobs={jobs}", "--dbname=plain", str(file))
    drop_database("plain")


def run_program(name: str, *arguments: str) -> None:
    from memory_site.operations.backups.database import build_environment  # noqa: PLC0415
    from memory_site.operations.backups.programs import find_program  # noqa: PLC0415

    environment = os.environ | build_environment()
    subprocess.run([find_program(name, 18), *arguments], env=environment, check=True)


def measure_seconds(function, *arguments) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
