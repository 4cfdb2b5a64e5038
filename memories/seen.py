"""Collect the ids of search hits, and store a few seconds later that they were seen.

Only forgetting reads `last_seen_at`: a memory that searches still return is not outdated. No search waits for the
write: a process stores what it has collected every FLUSH_SECONDS, and when it ends. A crash loses those seconds.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from multiprocessing.util import Finalize
from threading import Lock
from typing import Any
from uuid import UUID

from django.db import connection

from memory_site.core.wakeup import BackgroundCall

log = logging.getLogger(__name__)
FLUSH_SECONDS = 5
MAX_IDS_PER_STATEMENT = 1_000
#: Ids that are collected while the database does not answer; further ones are dropped.
MAX_COLLECTED_IDS = 100_000
# A memory is written at most once a day, since forgetting counts in days: a row that every search returns would
# otherwise be written every few seconds. Locked rows are skipped, so this waits for no lock and cannot deadlock; a row
# is locked to be deleted or used. No index has the column. A crash of PostgreSQL may lose the last writes. Only the
# console searches all namespaces (null).
MARK_SEEN_SQL = """
UPDATE memories_memory AS memory SET last_seen_at = statement_timestamp()
FROM (
    SELECT id FROM memories_memory
    WHERE namespace_id = coalesce(%(namespace)s::bigint, namespace_id) AND id = ANY(%(memories)s)
      AND last_seen_at < statement_timestamp() - interval '1 day'
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
) AS seen, (SELECT set_config('synchronous_commit', 'off', true)) AS asynchronous
WHERE memory.namespace_id = coalesce(%(namespace)s::bigint, memory.namespace_id) AND memory.id = seen.id
"""


class SeenMemories:
    """The ids of memories that searches of this process returned since the last flush."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start empty, with a lock and a thread of this process."""
        self._lock = Lock()
        self._ids: dict[int | None, list[UUID]] = {}
        self._count = 0
        self._flusher = BackgroundCall("store seen memories", self._flush_and_close, FLUSH_SECONDS)
        self._at_exit: Finalize | None = None

    def add(self, namespace_id: int | None, hits: Iterable[dict[str, Any]]) -> None:
        """Collect the memories of hits, of one namespace unless it is None. Return at once; never fail."""
        ids = [hit["memory"]["id"] for hit in hits]
        if not ids:
            return
        with self._lock:
            if self._count < MAX_COLLECTED_IDS:
                self._ids.setdefault(namespace_id, []).extend(ids)
                self._count += len(ids)
        self.flush_later()

    def flush_later(self) -> None:
        if self._at_exit is None:  # unlike atexit, this also runs in the processes that a web server starts
            self._at_exit = Finalize(None, self.flush, exitpriority=1)
        self._flusher.request()

    def flush(self) -> None:
        """Store what was collected, one namespace after the other. Never fails: what cannot be stored is dropped."""
        with self._lock:
            taken, self._ids, self._count = self._ids, {}, 0
        for namespace_id, ids in taken.items():
            try:
                mark_seen(namespace_id, sorted(set(ids)))
            except Exception as error:  # whatever the database or its driver raises: only forgetting would read it
                log.warning("The use of %d memories was not stored: %s", len(ids), type(error).__name__)

    def _flush_and_close(self) -> None:
        self.flush()
        connection.close()  # gives the thread's connection back to the pool


def mark_seen(namespace_id: int | None, ids: Sequence[UUID]) -> None:
    """Store that the memories were seen now, in statements of at most MAX_IDS_PER_STATEMENT."""
    with connection.cursor() as cursor:
        for start in range(0, len(ids), MAX_IDS_PER_STATEMENT):
            batch = list(ids[start : start + MAX_IDS_PER_STATEMENT])
            cursor.execute(MARK_SEEN_SQL, {"namespace": namespace_id, "memories": batch})


seen_memories = SeenMemories()
os.register_at_fork(after_in_child=seen_memories.reset)
