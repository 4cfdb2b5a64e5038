"""`make overload`: what clients get as they become too many, and what a neighbour in another namespace notices.

Clients store, search and list, each on its own connection, in processes of their own. A server with real data starts
first. On a shared machine only the ratios between the rows of one run mean something.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.flood import Answers, MakeRequest, build_request, run_flood

SETTLE_SECONDS = 2.0
#: What `measure_neighbour` compares: name, clients of the flood, and whether they wait for Retry-After.
FLOODS = (("alone", 0, True), ("the flood", 1000, True), ("a rude flood", 1000, False))
GROWING_COLUMNS = ("clients", "served/s", "of the best", "refused/s", "p50 ms", "p95 ms", "refused p95 ms", "errors")
NEIGHBOUR_COLUMNS = ("beside", "p50 ms", "p95 ms", "p95 of alone", "refused", "errors")
EXPECTED_STATUSES = (200, 201, 503)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,8,32,128,512,1000", help="numbers of clients (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of the measurements (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=10_000, help="memories to load (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-site-overload-") as directory:
        os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
        os.environ |= {"EMBEDDER": "hashing"}  # the clients need the processors as well
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    from tests.benchmarks.run import run_server  # noqa: PLC0415  (reads the settings)

    console = Console(width=140)
    counts = [int(part) for part in arguments.clients.split(",")]
    with run_server() as (url, _), ProcessPoolExecutor(2, get_context("spawn")) as processes:
        port = int(url.rpartition(":")[2])
        keys = load_namespaces(arguments.rows)
        flood = Flood(port, keys, arguments.seconds, processes)
        console.print(measure_growing_crowd(flood, counts, arguments.rounds))
        for clients in (1, 4):
            console.print(measure_neighbour(flood, clients, arguments.rounds))


def load_namespaces(rows: int) -> tuple[str, str]:
    """Return the keys of a namespace with so many memories and of a neighbour with a tenth of them."""
    from memories.embeddings import get_embedder  # noqa: PLC0415  (needs the settings)
    from sessions_app.models import ApiKey, Namespace  # noqa: PLC0415
    from tests.benchmarks.data import Synthetic, load  # noqa: PLC0415

    keys = []
    for name, number in (("crowd", rows), ("neighbour", rows // 10)):
        namespace = Namespace.objects.create(name=name)
        load(namespace, Synthetic(number), get_embedder().model)
        keys.append(ApiKey.objects.issue(namespace)[1])
    return keys[0], keys[1]


class Flood:
    """Sends requests of a crowd in one namespace and of a neighbour in another, each from a process of its own."""

    def __init__(self, port: int, keys: tuple[str, str], seconds: float, processes: ProcessPoolExecutor) -> None:
        self.port, self.keys, self.seconds, self._processes = port, keys, seconds, processes

    def send(self, clients: int, *, obedient: bool = True) -> Answers:
        seconds = SETTLE_SECONDS + self.seconds
        return self._processes.submit(send, self.port, self.keys[0], clients, seconds, obedient).result()

    def send_beside(self, crowd: int, obedient: bool, neighbours: int) -> Answers:
        """Return what the neighbour's clients get while the crowd sends."""
        seconds = self.seconds + 2 * SETTLE_SECONDS
        flood = self._processes.submit(send, self.port, self.keys[0], crowd, seconds, obedient)
        time.sleep(SETTLE_SECONDS)
        answers = self._processes.submit(send, self.port, self.keys[1], neighbours, self.seconds, True).result()
        flood.result()
        return answers


def send(port: int, key: str, clients: int, seconds: float, obedient: bool) -> Answers:
    return run_flood(port, [make_client(key, number) for number in range(clients)], seconds, obedient=obedient)


def make_client(key: str, number: int) -> MakeRequest:
    """A client that stores, searches and lists in turn."""

    def make(turn: int) -> bytes:
        match (number + turn) % 3:
            case 0:
                body: Any = {"content": f"Agent {number} saw train {random.random()}."}
                return build_request("POST", "/memories", key, body)
            case 1:
                return build_request("POST", "/memories/search", key, {"query": f"which train did agent {turn} see"})
            case _:
                return build_request("GET", "/memories?limit=20", key)

    return make


def measure_growing_crowd(flood: Flood, counts: Sequence[int], rounds: int) -> Table:
    measured: dict[int, list[Answers]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, answers in measured.items():
            answers.append(flood.send(count))
    title = f"One namespace, {flood.seconds:g} s at each number of clients; medians of {rounds} rounds"
    table = Table(*GROWING_COLUMNS, title=title)
    best = max(find_rate(answers, flood.seconds) for answers in measured.values())
    for count, answers in measured.items():
        rate = find_rate(answers, flood.seconds)
        refused = statistics.median(each.statuses[503] / flood.seconds for each in answers)
        figures = (
            find_served(answers, 0.5),
            find_served(answers, 0.95),
            find_refused(answers, 0.95),
            count_errors(answers),
        )
        table.add_row(str(count), f"{rate:.0f}", f"{rate / best:.2f}", f"{refused:.0f}", *(f"{n:.0f}" for n in figures))
    return table


def measure_neighbour(flood: Flood, clients: int, rounds: int) -> Table:
    measured: dict[str, list[Answers]] = {name: [] for name, _, _ in FLOODS}
    for _ in range(rounds):
        for name, crowd, obedient in FLOODS:
            measured[name].append(flood.send_beside(crowd, obedient, clients))
    table = Table(*NEIGHBOUR_COLUMNS, title=f"{clients} clients of another namespace; medians of {rounds} rounds")
    alone = find_served(measured["alone"], 0.95)
    for name, answers in measured.items():
        p95, refused = find_served(answers, 0.95), sum(each.statuses[503] for each in answers)
        figures = (f"{find_served(answers, 0.5):.0f}", f"{p95:.0f}", f"{p95 / alone:.2f}")
        table.add_row(name, *figures, str(refused), str(count_errors(answers)))
    return table


def find_rate(rounds: list[Answers], seconds: float) -> float:
    """Return the requests served in a second, once the crowd is there and until it ends."""
    return statistics.median(
        sum(each.until - seconds < moment <= each.until for moment in each.served_at) / seconds for each in rounds
    )


def find_served(rounds: list[Answers], share: float) -> float:
    """Return the quantile of the times until an answer, in milliseconds."""
    return statistics.median(find_quantile(each.served_seconds, share) for each in rounds)


def find_refused(rounds: list[Answers], share: float) -> float:
    return statistics.median(find_quantile(each.refused_seconds, share) for each in rounds)


def find_quantile(seconds: list[float], share: float) -> float:
    """Return milliseconds; 0 of nothing."""
    return sorted(seconds)[int(len(seconds) * share)] * 1000 if seconds else 0.0


def count_errors(rounds: list[Answers]) -> int:
    """Count what is neither a success nor a refusal, broken connections included."""
    unexpected = sum(n for each in rounds for status, n in each.statuses.items() if status not in EXPECTED_STATUSES)
    return unexpected + sum(each.errors.total() for each in rounds)


if __name__ == "__main__":
    main()
