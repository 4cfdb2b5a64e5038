"""Reading memories from the local file, and loading a user's from the server before that."""

import threading
from collections.abc import Iterable
from typing import Any

from memory_client.errors import MemoryClientError
from memory_client.hybrid import store
from memory_client.hybrid.checks import check_label, check_tags, check_unit
from memory_client.hybrid.errors import InvalidMemory
from memory_client.hybrid.index import Request
from memory_client.hybrid.loading import load_user
from memory_client.hybrid.nodes import Node
from memory_client.hybrid.parts import Parts
from memory_client.hybrid.store import THREAD, USER
from memory_client.hybrid.views import Retrieved, View

#: The originals' rule: a key that begins so names a thread, any other a user.
THREAD_PREFIXES = ("orchestrator-", "thread-", "agent-")


class Reads(Parts):
    """What reads memories, from the file alone unless it says otherwise."""

    def get(self, memory_id: str) -> Node | None:
        """Return a memory of any user or thread, or None."""
        with self.database.read() as connection:
            return store.read_node(connection, str(memory_id), self.clock())

    def get_memory(self, key: str) -> View:
        """Return the memories of a thread, if the key begins as a thread's, or of a user."""
        return self.view_thread(key) if self._is_thread(key) else self.view_user(key)

    def _is_thread(self, key: str) -> bool:
        if key.startswith(THREAD_PREFIXES):
            return True
        with self.database.read() as connection:
            kinds = {row[0] for row in connection.execute("SELECT kind FROM scopes WHERE name = ?", (key,))}
        return kinds == {THREAD}

    def view_user(self, user_id: str) -> View:
        return self.views.get(USER, user_id)

    def view_thread(self, thread_id: str) -> View:
        return self.views.get(THREAD, thread_id)

    def retrieve(
        self, key: str, query: str = "", *, context_filter: Iterable[str] | None = None,
        max_age_hours: float | None = None, min_relevance: float = 0.1, max_results: int = 10,
        required_tags: Iterable[str] = (), excluded_tags: Iterable[str] = (),
    ) -> list[Retrieved]:  # fmt: skip
        """Return the memories of a user or thread that match best, by words and present relevance; with an empty query
        the most relevant. The server finds them by meaning too: `client.memories.search`. Raises InvalidMemory."""
        if not isinstance(query, str):
            raise InvalidMemory("query", "must be a text")
        if isinstance(context_filter, str):
            context_filter = [context_filter]
        request = Request(
            query,
            None if context_filter is None else frozenset(context_filter),
            max_age_hours,
            check_unit(min_relevance, "min_relevance"),
            max_results,
            frozenset(check_tags(required_tags)),
            frozenset(check_tags(excluded_tags)),
        )
        return self.get_memory(key).retrieve(request)

    def get_relationships(self, memory_id: str) -> list[dict[str, Any]]:
        """Return the relationships of a memory in both directions: `node_id, type, strength, direction` (out, in)."""
        with self.database.read() as connection:
            return store.list_relationships(connection, store.resolve(connection, str(memory_id)))

    def ensure_user_memories(self, user_id: str) -> View:
        """Load a user's memories from the server once, refresh them when that was `refresh_seconds` ago, and return
        them. While the server is away they are those of the local file. Raises ForeignFile, and what a refusal of the
        server means."""
        check_label(user_id, "user_id")
        with self.loading.setdefault(user_id, threading.Lock()):
            if self._is_due(user_id):
                self._load(user_id)
        return self.view_user(user_id)

    def _is_due(self, user_id: str) -> bool:
        loaded_at = self._read_loaded_at(user_id)
        return loaded_at is None or not 0 <= self.clock() - loaded_at < self.refresh_seconds

    def _load(self, user_id: str) -> None:
        try:
            self.origin.check()
            load_user(self.database, self.server, user_id, self.clock)
        except MemoryClientError as error:
            self.origin.doubt()
            if not error.is_temporary:
                raise

    def is_user_memory_loaded(self, user_id: str) -> bool:
        """Return whether the user's memories were loaded from the server, by any process with this file."""
        return self._read_loaded_at(user_id) is not None

    def _read_loaded_at(self, user_id: str) -> float | None:
        with self.database.read() as connection:
            return store.read_loaded_at(connection, user_id)
