"""Runs agents in bad weather: the network breaks, answers are lost, processes are killed, a day passes."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.memory_client.hybrid.relay import Relay
from tests.memory_client.hybrid.torture import DAY, SENDER, Plan, read_journal, store_shared

ROOT = Path(__file__).resolve().parents[3]


class Fleet:
    """Agents in processes of their own, which are started again when they were killed."""

    def __init__(self, plan: Plan, names: list[str]) -> None:
        self.plan = plan
        self.processes: dict[str, subprocess.Popen] = {}
        self.kills = 0
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        argv = [sys.executable, "-m", "tests.memory_client.hybrid.torture", json.dumps(asdict(self.plan)), name]
        self.processes[name] = subprocess.Popen(argv, cwd=ROOT)

    def start_sender(self) -> None:
        """Start a process that only sends, in the place of the agents that are done."""
        self.start(SENDER)

    def kill(self, name: str) -> None:
        if self.processes[name].poll() is None:
            self.processes[name].kill()
            self.processes[name].wait()
            self.kills += 1
            self.start(name)

    @property
    def is_done(self) -> bool:
        codes = [process.poll() for process in self.processes.values()]
        assert not any(codes), f"an agent failed: {codes}"
        return None not in codes

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def count_done(self) -> int:
        return sum(line["phase"] == "end" for path in self.plan.list_journals() for line in read_journal(path))


def make_plan(directory: Path, relay: Relay, key: str, threads: int, count: int, seconds: float) -> Plan:
    """A plan by which each thread does `count` operations in about `seconds`, which are a day to it."""
    return Plan(
        path=str(directory / "agent.db"),
        url=relay.url,
        key=key,
        journals=str(directory),
        clock_file=str(directory / "clock"),
        began=time.time(),
        behind=3 * DAY,
        speed=DAY / seconds,
        threads=threads,
        count=count,
        pause=seconds / count,
    )


def break_some(chance: random.Random) -> Callable[[str, str], object]:
    """Of a hundred requests one is answered 503, and of three the answer is lost."""

    def fault(method: str, path: str) -> object:
        value = chance.random()
        return 503 if value < 0.01 else "lose" if value < 0.04 else None

    return fault


def begin(plan: Plan) -> None:
    """Store what all agents share, and see that the site has it."""
    with plan.open() as memory:
        store_shared(memory)
        assert memory.flush(180)


def let_a_day_pass(plan: Plan, execute: Callable[[str], object]) -> None:
    """Let the agents' clock jump, and the site's answers become as old: it knows no Idempotency-Key any more."""
    Path(plan.clock_file).write_text(str(25 * 3600))
    execute("UPDATE sessions_app_idempotentanswer SET created_at = created_at - interval '25 hours'")
