"""Clients that store while the site is being killed, and the answer that each got."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3
from pydantic_core import from_json

from memory_site.operations.selftest.report import Finding
from memory_site.operations.selftest.scratch_site import ScratchSite

RETRY_SECONDS = 0.1
REQUEST_TIMEOUT_SECONDS = 10.0
#: A session keeps its last interactions only.
INTERACTIONS_OF_A_SESSION = 50
CHANGE_EVERY = 3
MAX_NAMED = 3
BUSY_STATUSES = (409, 425, 429)

SELECT_MEMORIES_SQL = "SELECT id::text, content FROM memories_memory WHERE user_id LIKE 'client-%'"
SELECT_INTERACTIONS_SQL = """
SELECT interaction ->> 'query' FROM sessions_app_sessionmemory, jsonb_array_elements(history) AS interaction
WHERE session_id LIKE 'client-%'
"""
SELECT_STALE_SQL = """
SELECT count(*) FROM memories_memory memory
LEFT JOIN memories_embedding vector ON vector.namespace_id = memory.namespace_id AND vector.memory_id = memory.id
WHERE memory.user_id LIKE 'client-%' AND vector.content_hash IS DISTINCT FROM memory.content_hash
"""


@dataclass
class Journal:
    """What was acknowledged. An entry that is open was sent, and may be stored or not."""

    #: By id: the text that was acknowledged last, and one that was sent since.
    memories: dict[str, str] = field(default_factory=dict)
    open_changes: dict[str, str] = field(default_factory=dict)
    interactions: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        return len(self.memories) + len(self.interactions)

    def compare(self, memories: Iterable[tuple[str, str]], interactions: Iterable[str], stale: int) -> Finding:
        """Return what is lost, stored twice, or without the vector of its text."""
        contents = dict(memories)
        found = Counter(interactions)
        lost = sum(contents.get(pk) not in self.expect(pk) for pk in self.memories)
        lost += sum(not found[query] for query in self.interactions)
        twice = Counter(contents.values())
        dup = sum(count - 1 for count in (*twice.values(), *found.values()))
        note = "; ".join(self.refused[:MAX_NAMED])
        return Finding("", self.acknowledged, lost, dup, stale, wrong=len(self.refused), note=note)

    def expect(self, pk: str) -> tuple[str, str]:
        """Return the texts that a memory may have."""
        return self.memories[pk], self.open_changes.get(pk, self.memories[pk])


class Client:
    """One client: stores memories, changes them and tells interactions, each until it is acknowledged."""

    def __init__(self, site: ScratchSite, name: str, journal: Journal, stop: threading.Event) -> None:
        self.site, self.name, self.journal, self.stop = site, name, journal, stop

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            text = f"{self.name} stores number {number}"
            stored = self.send("POST", "/memories", {"content": text, "user_id": self.name}, f"{self.name}-m-{number}")
            if stored is not None:
                self.journal.memories[stored["id"]] = text
                if number % CHANGE_EVERY == 0:
                    self.change(stored["id"], f"{text}, and changes it")
            self.tell(number)

    def change(self, pk: str, text: str) -> None:
        self.journal.open_changes[pk] = text
        if self.send("PATCH", f"/memories/{pk}", {"content": text}) is not None:
            self.journal.memories[pk] = text
            del self.journal.open_changes[pk]

    def tell(self, number: int) -> None:
        session = f"{self.name}-{number // INTERACTIONS_OF_A_SESSION}"
        query = f"{self.name} asks number {number}"
        body = {"query": query, "answer": "Yes."}
        if self.send("POST", f"/sessions/{session}/interactions", body, f"{self.name}-i-{number}") is not None:
            self.journal.interactions.append(query)

    def send(self, method: str, path: str, body: dict, key: str = "") -> dict | None:
        """Repeat a request with the same key until it is acknowledged; None if the client stops before that."""
        headers = {"Idempotency_Key": key} if key else {}
        while not self.stop.is_set():
            try:
                response = self.site.call(method, path, body, timeout=REQUEST_TIMEOUT_SECONDS, **headers)
            except urllib3.exceptions.HTTPError:
                response = None
            if response is not None and response.status < 300:
                return from_json(response.data)
            if response is not None and response.status < 500 and response.status not in BUSY_STATUSES:
                self.journal.refused.append(f"{method} {path}: {response.status}")
                return None
            time.sleep(RETRY_SECONDS)
        return None


@contextmanager
def run_clients(site: ScratchSite, journal: Journal, names: Iterable[str]) -> Iterator[None]:
    """Run a client of each name, in threads, inside the block."""
    stop = threading.Event()
    clients = [Client(site, f"client-{name}", journal, stop) for name in names]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def compare_with_site(site: ScratchSite, journal: Journal, wait: Callable[[], None]) -> Finding:
    """Compare with the rows of the database, after `wait` for the vectors."""
    wait()
    interactions = [query for [query] in site.rows(SELECT_INTERACTIONS_SQL)]
    [[stale]] = site.rows(SELECT_STALE_SQL)
    return journal.compare(site.rows(SELECT_MEMORIES_SQL), interactions, stale)
