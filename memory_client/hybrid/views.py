"""The memories of one user or thread in this process: a copy of the file's rows with an index of their words.

Before it answers, a view reads the rows that changed since it looked last, whichever process changed them: mostly none.
"""

import sqlite3
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from memory_client.hybrid.database import Database
from memory_client.hybrid.index import Index, Request
from memory_client.hybrid.nodes import Node, decode_node
from memory_client.hybrid.ranking import Item

SELECT_CHANGES_SQL = (
    "SELECT id, deleted_at, accessed_at, body FROM memories WHERE kind = ? AND scope = ? AND touched > ?"
)


class Retrieved(NamedTuple):
    """A hit. `score`, 0 to 1, is comparable within one answer."""

    node: Node
    score: float
    relevance: float


class View:
    """The memories of a scope. Every method may be called from any thread."""

    def __init__(self, database: Database, kind: str, name: str, clock: Callable[[], float]) -> None:
        self.database, self.kind, self.name, self.clock = database, kind, name, clock
        self._lock = threading.Lock()
        self._accesses: dict[str, float] = {}
        self._clear()

    def __repr__(self) -> str:
        return f"<View of {self.kind} {self.name!r}>"

    def _clear(self) -> None:
        self._seen = -1
        self._index = Index()

    def nodes(self) -> list[Node]:
        """Return the memories, newest first."""
        now = self.clock()
        with _Synchronized(self):
            found = [item.node for item in self._index.items.values() if item.is_alive(now)]
        return sorted(found, key=lambda node: (node.created_at, node.id), reverse=True)

    def __len__(self) -> int:
        return len(self.nodes())

    def __bool__(self) -> bool:
        return True  # an empty one is there too

    def retrieve(self, request: Request) -> list[Retrieved]:
        """Return the memories that match best, and note that they were accessed.

        A query that is the id of an entity returns that one, whatever the filters say. A query whose words occur
        nowhere returns nothing.
        """
        now = self.clock()
        with _Synchronized(self):
            found = self._index.find(request, now)
            hits = [self._describe(score, memory_id, now) for score, memory_id in found]
            for hit in hits:
                self._note_access(hit.node.id, now)
        return hits

    def take_accesses(self) -> list[tuple[float, str]]:
        """Return the moments of accesses since the last call, with the ids."""
        with self._lock:
            taken, self._accesses = self._accesses, {}
        return [(moment, memory_id) for memory_id, moment in taken.items()]

    def _describe(self, score: float, memory_id: str, now: float) -> Retrieved:
        item = self._index.items[memory_id]
        return Retrieved(item.node, min(score, 1.0), item.compute_relevance(now))

    def _note_access(self, memory_id: str, now: float) -> None:
        self._accesses[memory_id] = now
        self._index.note_access(memory_id, now)

    def _synchronize(self, connection: sqlite3.Connection) -> None:
        counters = dict(connection.execute("SELECT name, value FROM counters"))
        if self._seen >= counters["tick"]:
            return
        if self._seen < counters["purged"]:
            self._clear()
        rows = connection.execute(SELECT_CHANGES_SQL, (self.kind, self.name, self._seen))
        now = self.clock()
        for memory_id, deleted_at, accessed_at, body in rows:
            self._index.remove(memory_id)
            if deleted_at is None:
                self._index.add(Item(decode_node(body), self._accesses.get(memory_id, accessed_at)), now)
        self._seen = counters["tick"]


class _Synchronized:
    """Holds the view's lock, with its rows read; a class, because a generator costs more than the reading."""

    __slots__ = ("view",)

    def __init__(self, view: View) -> None:
        self.view = view

    def __enter__(self) -> None:
        self.view._lock.acquire()
        try:
            with self.view.database.read() as connection:
                self.view._synchronize(connection)
        except BaseException:
            self.view._lock.release()
            raise

    def __exit__(self, *_: Any) -> None:
        self.view._lock.release()
