"""The users and threads that this process used last: their views, and when each was used."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from memory_client.hybrid import store
from memory_client.hybrid.database import Database
from memory_client.hybrid.views import View


class RecentViews:
    """Holds at most `keep` views. When a user, thread or memory was used is written to the file by `save`."""

    def __init__(self, database: Database, clock: Callable[[], float], keep: int) -> None:
        self.database, self.clock, self.keep = database, clock, keep
        self.prepare()

    def prepare(self) -> None:
        """Begin without views; in a forked process again, which must not share them with its parent."""
        self._guard = threading.Lock()
        self._views: OrderedDict[tuple[str, str], View] = OrderedDict()
        self._used: dict[tuple[str, str], float] = {}

    def get(self, kind: str, name: str) -> View:
        scope = (kind, name)
        with self._guard:
            self._used[scope] = self.clock()
            view = self._views.get(scope)
            if view is None:
                view = self._views[scope] = View(self.database, kind, name, self.clock)
            self._views.move_to_end(scope)
            dropped = [self._views.popitem(last=False)[1] for _ in range(len(self._views) - self.keep)]
        if dropped:
            self._save(dropped)
        return view

    def save(self) -> None:
        with self._guard:
            views = list(self._views.values())
        self._save(views)

    def _save(self, views: Iterable[View]) -> None:
        accesses = [access for view in views for access in view.take_accesses()]
        if not accesses and not self._used:
            return
        with self.database.write() as connection:
            store.save_accesses(connection, accesses)
            self.save_used(connection)

    def save_used(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            used, self._used = self._used, {}
        connection.executemany(
            "UPDATE scopes SET last_activity = max(last_activity, ?) WHERE kind = ? AND name = ?",
            [(moment, *scope) for scope, moment in used.items()],
        )
