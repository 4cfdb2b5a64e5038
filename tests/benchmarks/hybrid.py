"""`make hybrid`: 10,000 operations of agents in two processes with eight threads each, over a simulated day in which
the site is killed and started again and again, agents are killed, answers are lost, and the 24 hours pass for which the
site knows an Idempotency-Key. At the end the site's database and history are compared with what the agents did.

Then the time of reads from a local file with 10,000 memories, while other threads and another process write to it.
"""

import argparse
import logging
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import OperationalError
from rich.console import Console
from rich.table import Table
from urllib3.exceptions import HTTPError

from memory_client.hybrid import HybridMemory
from memory_site.operations.selftest.scratch_site import ScratchSite, run_scratch_site, wait_until
from tests.memory_client.hybrid.agents import open_memory
from tests.memory_client.hybrid.relay import Relay
from tests.memory_client.hybrid.torture import Comparison, Findings, Plan
from tests.memory_client.hybrid.weather import ROOT, Fleet, begin, break_some, let_a_day_pass, make_plan

console = Console(width=120)
USERS, MEMORIES_PER_USER = 10, 1_000
WRITES_PER_SECOND = 50
FLUSH_SECONDS = 3600
#: The last part of what waits is sent while nothing fails.
CALM_SHARE = 0.1
#: Between two faults the site works: while the agents write, and while what waits is sent.
CALM_SECONDS, SENDING_SECONDS = (2, 10), (10, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=10_000, help="in all (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="of each process (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="in which agents write (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=17, help="of the weather (default: %(default)s)")
    parser.add_argument("--reads", type=int, default=5_000, help="of each kind (default: %(default)s)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    findings = torture(arguments) if arguments.operations else Findings()
    slowest = measure_reads(arguments.reads) if arguments.reads else 0.0
    sys.exit(0 if findings.is_fine and slowest < 1 else 1)


def torture(arguments: argparse.Namespace) -> Findings:
    with run_scratch_site() as site, tempfile.TemporaryDirectory(prefix="memory-hybrid-") as directory:
        relay = Relay(site.url).up()
        count = arguments.operations // (2 * arguments.threads)
        plan = make_plan(Path(directory), relay, site.key, arguments.threads, count, arguments.seconds)
        begin(plan)
        chance = random.Random(arguments.seed)
        relay.fault = break_some(chance)
        fleet, weather = Fleet(plan, ["a", "b"]), Weather(site, relay, chance)
        try:
            while not fleet.is_done:
                weather.change(fleet)
                if time.time() - plan.began > arguments.seconds / 2:
                    weather.let_a_day_pass(plan)
            started = time.monotonic()
            left = send_in_bad_weather(plan, fleet, weather)
        finally:
            fleet.stop()
        relay.fault = lambda method, path: None
        weather.clear_up()
        with plan.open() as memory:
            assert memory.flush(FLUSH_SECONDS), memory.status()
            seconds = time.monotonic() - started
            findings = Comparison(plan, site.rows).run(memory)
            report(findings, fleet, weather, left, seconds, memory.status().conflicts)
        relay.down()
    return findings


def send_in_bad_weather(plan: Plan, fleet: Fleet, weather: "Weather") -> int:
    """Send what waits, by a process that is killed now and then, until little is left. Return how much waited."""
    fleet.start_sender()
    with plan.open() as memory:  # which sends too, whenever the other one does not
        left = waiting = memory.status().waiting
        while waiting > left * CALM_SHARE:
            weather.change(fleet, SENDING_SECONDS)
            waiting = memory.status().waiting
    return left


def execute(site: ScratchSite) -> Callable[[str], None]:
    def run(sql: str) -> None:
        wait_until(lambda: accepts(site), 60, "PostgreSQL accepts connections")
        with site.connect() as connection:
            connection.execute(sql)

    return run


def is_ready(site: ScratchSite) -> bool:
    try:
        return site.page("/health/ready").status == 200
    except HTTPError:
        return False


def accepts(site: ScratchSite) -> bool:
    try:
        return bool(site.rows("SELECT true"))
    except OperationalError:
        return False


class Weather:
    """What happens to the site and to the agents, at random."""

    def __init__(self, site: ScratchSite, relay: Relay, chance: random.Random) -> None:
        self.site, self.relay, self.chance = site, relay, chance
        self.outages = self.web_kills = self.database_kills = 0
        self.has_day_passed = False

    def change(self, fleet: Fleet, calm: tuple[float, float] = CALM_SECONDS) -> None:
        self.clear_up()
        time.sleep(self.chance.uniform(*calm))
        self.chance.choice((self.break_network, self.kill_web, self.kill_database, self.kill_agent))(fleet)

    def let_a_day_pass(self, plan: Plan) -> None:
        """Once, while the agents write."""
        if not self.has_day_passed:
            self.has_day_passed = True
            self.relay.down()
            let_a_day_pass(plan, execute(self.site))
            self.relay.up()

    def break_network(self, fleet: Fleet) -> None:
        self.outages += 1
        self.relay.down()
        time.sleep(self.chance.uniform(0.5, 6))
        self.relay.up()

    def kill_web(self, fleet: Fleet) -> None:
        self.web_kills += 1
        killed = self.site.kill("web")
        wait_until(lambda: self.site.is_back("web", killed), 60, "the web server is back")

    def kill_database(self, fleet: Fleet) -> None:
        if self.database_kills < 3:
            self.database_kills += 1
            killed = self.site.kill("postgres")
            wait_until(lambda: self.site.is_back("postgres", killed), 60, "PostgreSQL is back")

    def kill_agent(self, fleet: Fleet) -> None:
        fleet.kill(self.chance.choice(list(fleet.processes)))

    def clear_up(self) -> None:
        wait_until(lambda: is_ready(self.site), 120, "the site is ready")


def report(findings: Findings, fleet: Fleet, weather: Weather, left: int, seconds: float, conflicts: int) -> None:
    table = Table("what", "number", title="Agents in bad weather")
    rows = {
        "operations": sum(findings.counts.values()),
        **{f"  {name}": count for name, count in sorted(findings.counts.items())},
        "kill -9 of an agent": fleet.kills,
        "kill -9 of the web server": weather.web_kills,
        "kill -9 of PostgreSQL": weather.database_kills,
        "outages of the network": weather.outages,
        "answers lost": weather.relay.lost,
        "waiting at the end": left,
        "seconds to send them": f"{seconds:.0f}",
        "changed on both sides": conflicts,
        "LOST": len(findings.lost),
        "DUP": len(findings.duplicated),
        "out of order": len(findings.disordered),
        "different here and there": len(findings.different),
    }
    for name, number in rows.items():
        table.add_row(name, str(number))
    console.print(table)
    for wrong in (findings.lost, findings.duplicated, findings.disordered, findings.different):
        for line in wrong[:20]:
            console.print(line)


def measure_reads(count: int) -> float:
    """Return the largest 95th percentile of a kind of read, in ms."""
    with tempfile.TemporaryDirectory(prefix="memory-hybrid-") as directory:
        path = Path(directory) / "agent.db"
        with open_memory(path) as memory:
            ids = fill(memory)
            with writing(memory, path):
                return show_reads(memory, ids, count)


WORDS = [f"word{number:03}" for number in range(400)]


def make_text(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=30))


def fill(memory: HybridMemory) -> list[str]:
    chance = random.Random(1)
    return [
        memory.store_persistent_memory(f"user{number % USERS}", make_text(chance), "business_fact")
        for number in range(USERS * MEMORIES_PER_USER)
    ]


@contextmanager
def writing(memory: HybridMemory, path: Path) -> Iterator[None]:
    """A thread of this process and another process write, at the rate of a busy agent."""
    stopping = threading.Event()
    thread = threading.Thread(target=write_steadily, args=(memory, stopping))
    thread.start()
    argv = [sys.executable, "-m", "tests.benchmarks.hybrid_writer", str(path), str(WRITES_PER_SECOND)]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.kill()
            stopping.set()
            thread.join()


def write_steadily(memory: HybridMemory, stopping: threading.Event, per_second: float = WRITES_PER_SECOND) -> None:
    chance = random.Random()
    while not stopping.wait(1 / per_second):
        memory.store_persistent_memory(f"user{chance.randrange(USERS)}", make_text(chance), "business_fact")


def pick_user(chance: random.Random) -> str:
    return f"user{chance.randrange(USERS)}"


def show_reads(memory: HybridMemory, ids: list[str], count: int) -> float:
    chance = random.Random(2)
    kinds = {
        "get, by id": lambda: memory.get(chance.choice(ids)),
        "retrieve, three words": lambda: memory.retrieve(pick_user(chance), " ".join(chance.choices(WORDS, k=3))),
        "retrieve, the most relevant": lambda: memory.retrieve(pick_user(chance)),
    }  # fmt: skip
    for number in range(USERS):
        memory.retrieve(f"user{number}", WORDS[0])
    table = Table("read", "p50 ms", "p95 ms", "p99 ms", title=f"Reads of {USERS * MEMORIES_PER_USER:,} memories")
    slowest = 0.0
    for name, read in kinds.items():
        times = statistics.quantiles([measure(read) for _ in range(count)], n=100)
        table.add_row(name, *(f"{times[at]:.3f}" for at in (49, 94, 98)))
        slowest = max(slowest, times[94])
    console.print(table)
    return slowest


def measure(read) -> float:
    time.sleep(0.0005)  # as an agent does something else between two reads
    started = time.perf_counter()
    read()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
