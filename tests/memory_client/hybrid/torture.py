"""Agents that write without a pause while everything around them fails, and a comparison of what they did with what
the site has, row by row.

An agent notes in its journal what it begins and what it has done. When it is killed, what it had begun may have
happened or not; everything else must have, once and in order.
"""

import json
import logging
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from memory_client.hybrid import HybridMemory

#: How often an agent does what.
OPERATIONS = {"create": 40, "update": 40, "delete": 5, "relate": 5, "merge": 5, "share": 5}
ENTITIES_PER_THREAD = 3
SHARED_USER, SHARED_TOKEN = "shared", "the shared one"
DAY = 86400.0
#: The name of a process that only sends.
SENDER = "sender"


class Clock:
    """A clock that begins in the past, runs faster than the wall's, and jumps when the file says so."""

    def __init__(self, file: Path, began: float, behind: float, speed: float) -> None:
        self.file, self.began, self.behind, self.speed = file, began, behind, speed

    def __call__(self) -> float:
        real = time.time()
        jumped = float(self.file.read_text() or 0) if self.file.exists() else 0.0
        return min(real - self.behind + (real - self.began) * self.speed + jumped, real)


class Journal:
    """Lines of JSON. What was written is there whatever kills the process."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **line: object) -> None:
        os.write(self.descriptor, json.dumps(line).encode() + b"\n")


def read_journal(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


class Agent(threading.Thread):
    """One thread of an agent. It goes on where its journal ends."""

    def __init__(self, memory: HybridMemory, journal: Journal, past: list[dict], name: str, count: int, pause: float):
        super().__init__(name=name)
        self.memory, self.journal, self.count, self.pause = memory, journal, count, pause
        self.user = f"user-{name}"
        self.done = sum(1 for line in past if line["phase"] == "end")
        self.begun = sum(1 for line in past if line["phase"] == "begin")
        self.random = random.Random(f"{name} {self.begun}")
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.live = [node.id for node in self.memory.view_user(self.user).nodes() if node.entity is None]
            self.merges = {node.entity.id: node.metadata["n"] for node in self.memory.view_user(self.user).nodes()
                           if node.entity is not None}  # fmt: skip
            while self.done < self.count:
                self.act()
                time.sleep(self.random.uniform(0, 2 * self.pause))
        except BaseException as error:
            self.failure = error

    def act(self) -> None:
        [name] = self.random.choices(list(OPERATIONS), list(OPERATIONS.values()))
        if name in ("update", "delete", "relate") and len(self.live) < 2:
            name = "create"
        self.begun += 1
        getattr(self, name)(f"{self.name}-{self.begun}")
        self.done += 1

    def note(self, phase: str, operation: str, token: str, memory_id: str | None = None, n: int | None = None) -> None:
        self.journal.write(phase=phase, operation=operation, thread=self.name, token=token, id=memory_id, n=n)

    def create(self, token: str) -> None:
        self.note("begin", "create", token, n=0)
        memory_id = self.memory.store_persistent_memory(
            self.user, f"{token} was created.", "business_fact", metadata={"token": token, "n": 0}
        )
        self.note("end", "create", token, memory_id, 0)
        self.live.append(memory_id)

    def update(self, token: str) -> None:
        node = self.memory.get(self.random.choice(self.live))
        n = node.metadata["n"] + 1
        self.note("begin", "update", token, node.id, n)
        self.memory.update_persistent_memory(node.id, content=f"{token} is {n}.", metadata=node.metadata | {"n": n})
        self.note("end", "update", token, node.id, n)

    def delete(self, token: str) -> None:
        memory_id = self.live.pop(self.random.randrange(len(self.live)))
        self.note("begin", "delete", token, memory_id)
        self.memory.delete_persistent_memory(memory_id)
        self.note("end", "delete", token, memory_id)

    def relate(self, token: str) -> None:
        start, finish = self.random.sample(self.live, 2)
        self.note("begin", "relate", token, f"{start} {finish}")
        self.memory.persist_relationship(self.user, start, finish, "led_to")
        self.note("end", "relate", token, f"{start} {finish}")

    def merge(self, token: str) -> None:
        entity = f"{self.name}-entity-{self.random.randrange(ENTITIES_PER_THREAD)}"
        n = self.merges.get(entity, -1) + 1
        self.note("begin", "merge", token, entity, n)
        content = {"entity_id": entity, "entity_system": "crm", "entity_data": {f"f{n % 5}": n}}
        self.memory.store_persistent_memory(self.user, content, "domain_entity", metadata={"token": entity, "n": n})
        self.note("end", "merge", token, entity, n)
        self.merges[entity] = n

    def share(self, token: str) -> None:
        [node] = self.memory.view_user(SHARED_USER).nodes()
        self.note("begin", "share", token, node.id)
        self.memory.update_persistent_memory(node.id, metadata={"token": token})
        self.note("end", "share", token, node.id)


@dataclass
class Plan:
    """How agents run. It goes to them as JSON."""

    path: str
    url: str
    key: str
    journals: str
    clock_file: str
    began: float
    behind: float
    speed: float
    threads: int
    count: int
    pause: float

    def make_clock(self) -> Clock:
        return Clock(Path(self.clock_file), self.began, self.behind, self.speed)

    def open(self) -> HybridMemory:
        return HybridMemory(
            self.url, self.key, path=self.path, clock=self.make_clock(), poll_seconds=0.2, timeout=15, busy_seconds=60
        )

    def list_journals(self) -> list[Path]:
        return sorted(Path(self.journals).glob("*.jsonl"))


def run_agent(plan: Plan, process: str) -> None:
    if process == SENDER:
        with plan.open() as memory:
            assert memory.flush(3600)
        return
    path = Path(plan.journals) / f"{process}.jsonl"
    past, journal = read_journal(path), Journal(path)
    with plan.open() as memory:
        threads = [
            Agent(memory, journal, [line for line in past if line["thread"] == name], name, plan.count, plan.pause)
            for name in (f"{process}{number}" for number in range(plan.threads))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures := [thread.failure for thread in threads if thread.failure]:
        raise failures[0]


@dataclass
class Findings:
    """What is wrong, in words; and numbers."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    @property
    def is_fine(self) -> bool:
        return not (self.lost or self.duplicated or self.disordered or self.different)


@dataclass
class Expected:
    """What a journal says of one memory or entity: the last n that was done, the last that was begun."""

    done: int = -1
    begun: int = -1
    is_deleted: bool = False
    may_be_deleted: bool = False


class Comparison:
    """`rows` runs a statement in the site's database."""

    def __init__(self, plan: Plan, rows: Callable[[str], Iterable[tuple]]) -> None:
        self.lines = [line for path in plan.list_journals() for line in read_journal(path)]
        self.findings = Findings()
        self.rows = {str(row[0]): row[1:] for row in rows(
            "SELECT id, content, metadata, user_id, update_count, entity_id FROM memories_memory"
        )}  # fmt: skip
        self.versions = defaultdict(list)
        for memory_id, operation, metadata in rows(
            "SELECT memory_id, operation, row -> 'metadata' FROM history_memoryversion ORDER BY changed_at, id"
        ):
            self.versions[str(memory_id)].append((operation, to_object(metadata)))
        self.relationships = {(str(start), str(finish)) for start, finish in rows(
            "SELECT from_memory_id, to_memory_id FROM graph_relationship"
        )}  # fmt: skip

    def run(self, memory: HybridMemory) -> Findings:
        self.compare_memories()
        self.compare_entities()
        self.compare_shared()
        self.compare_relationships()
        self.compare_local(memory)
        self.findings.counts.update(line["operation"] for line in self.lines if line["phase"] == "end")
        return self.findings

    def iterate(self, *operations: str) -> Iterable[tuple[dict, bool]]:
        for line in self.lines:
            if line["operation"] in operations:
                yield line, line["phase"] == "end"

    def collect(self) -> dict[str, Expected]:
        expected = defaultdict(Expected)
        for line, is_done in self.iterate("create", "update", "delete"):
            if line["id"] is None:
                continue
            memory = expected[line["id"]]
            if line["operation"] == "delete":
                memory.may_be_deleted = True
                memory.is_deleted |= is_done
            elif is_done:
                memory.done = max(memory.done, line["n"])
            memory.begun = max(memory.begun, line["n"] or 0)
        return expected

    def compare_memories(self) -> None:
        for memory_id, expected in self.collect().items():
            numbers = self.read_numbers(memory_id)
            is_there = memory_id in self.rows
            if is_there and expected.is_deleted:
                self.findings.lost.append(f"the deletion of {memory_id}")
            if not is_there and not expected.may_be_deleted:
                self.findings.lost.append(f"memory {memory_id}")
            self.compare_numbers(memory_id, numbers, expected)
        tokens = Counter(to_object(row[1]).get("token") for row in self.rows.values())
        self.findings.duplicated += [f"memory {token}" for token, count in tokens.items() if count > 1]

    def read_numbers(self, memory_id: str) -> list[int]:
        """The numbers of a memory's states in the order in which the site had them."""
        numbers = [metadata["n"] for _, metadata in self.versions[memory_id]]
        return numbers + ([to_object(self.rows[memory_id][1])["n"]] if memory_id in self.rows else [])

    def compare_numbers(self, name: str, numbers: list[int], expected: Expected) -> None:
        last = max(numbers, default=-1)
        if last < expected.done:
            self.findings.lost.append(f"{name} is at {last} instead of {expected.done}")
        self.findings.lost += [f"state {n} of {name}" for n in range(last + 1) if n not in numbers]
        self.findings.duplicated += [f"state {n} of {name}" for n, count in Counter(numbers).items() if count > 1]
        if numbers != sorted(numbers):
            self.findings.disordered.append(f"{name}: {numbers}")
        if last > expected.begun:
            self.findings.different.append(f"{name} is at {last}, which nobody wrote")

    def compare_entities(self) -> None:
        expected = defaultdict(Expected)
        for line, is_done in self.iterate("merge"):
            entity = expected[line["id"]]
            entity.begun = max(entity.begun, line["n"])
            entity.done = max(entity.done, line["n"]) if is_done else entity.done
        ids = {row[4]: memory_id for memory_id, row in self.rows.items() if row[4] is not None}
        for name, entity in expected.items():
            if name not in ids:
                if entity.done >= 0:
                    self.findings.lost.append(f"entity {name}")
                continue
            numbers = self.read_numbers(ids[name])
            self.compare_numbers(name, numbers, entity)
            merges = self.rows[ids[name]][3]
            if merges != numbers[-1]:
                self.findings.duplicated.append(f"entity {name} was merged {merges} times to be at {numbers[-1]}")

    def compare_shared(self) -> None:
        """A memory that all threads of all processes change: each change is there once, those of a thread in order."""
        [memory_id] = [memory_id for memory_id, row in self.rows.items() if row[2] == SHARED_USER]
        states = [metadata["token"] for _, metadata in self.versions[memory_id]]
        states.append(to_object(self.rows[memory_id][1])["token"])
        places = {token: place for place, token in enumerate(states)}
        self.findings.duplicated += [f"shared {token}" for token, count in Counter(states).items() if count > 1]
        last: dict[str, int] = {}
        for line, is_done in self.iterate("share"):
            if is_done and line["token"] not in places:
                self.findings.lost.append(f"shared {line['token']}")
            elif is_done:
                if places[line["token"]] < last.get(line["thread"], -1):
                    self.findings.disordered.append(f"shared {line['token']}")
                last[line["thread"]] = places[line["token"]]

    def compare_relationships(self) -> None:
        for line, is_done in self.iterate("relate"):
            start, finish = line["id"].split()
            if is_done and start in self.rows and finish in self.rows and (start, finish) not in self.relationships:
                self.findings.lost.append(f"relationship {line['id']}")

    def compare_local(self, memory: HybridMemory) -> None:
        """The file and the site have the same memories, with the same ids and the same values."""
        users = {row[2] for row in self.rows.values()}
        here = {node.id: node for user in users for node in memory.view_user(user).nodes()}
        for memory_id in here.keys() ^ self.rows.keys():
            self.findings.different.append(f"{memory_id} is only {'here' if memory_id in here else 'there'}")
        for memory_id in here.keys() & self.rows.keys():
            content, metadata, *_ = self.rows[memory_id]
            if (here[memory_id].text, here[memory_id].metadata) != (content, to_object(metadata)):
                self.findings.different.append(f"{memory_id}: {here[memory_id].text!r} here, {content!r} there")
        status = memory.status()
        if status.waiting or status.refused:
            self.findings.different.append(f"{status.waiting} writes wait, {status.refused} were refused")


def to_object(value: object) -> dict:
    return json.loads(value) if isinstance(value, str) else value


def store_shared(memory: HybridMemory) -> None:
    memory.store_persistent_memory(SHARED_USER, "All write here.", "business_fact", metadata={"token": SHARED_TOKEN})


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    run_agent(Plan(**json.loads(sys.argv[1])), sys.argv[2])
