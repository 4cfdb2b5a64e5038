"""Keeping the local file in bounds: idle threads, copies of idle users, and when each was used last."""

import logging
import time

from memory_client.hybrid import events, store
from memory_client.hybrid.events import log_event
from memory_client.hybrid.parts import Parts

HOUR = 3600.0
CLEANUP_SECONDS = 600.0


class Housekeeping(Parts):
    """What cleans up, now and then by itself."""

    #: When to do so next, by the monotonic clock.
    cleanup_at = 0.0

    def cleanup_stale_threads(self, max_idle_hours: float = 24.0) -> dict[str, int]:
        """Remove threads that were not used for so long, with their memories; never a user's.

        Return `stale_threads_removed`, `memories_removed`, `active_graphs_remaining`.
        """
        with self.database.write() as connection:
            self.views.save_used(connection)
            threads, memories = store.remove_threads(connection, self.clock() - max_idle_hours * HOUR)
            left = connection.execute("SELECT count(*) FROM scopes").fetchone()[0]
        if threads:
            log_event(logging.INFO, events.THREADS_REMOVED, threads=threads, nodes=memories)
        return {
            "stale_threads_removed": threads, "memories_removed": memories, "active_graphs_remaining": left,
        }  # fmt: skip

    def _housekeep(self) -> None:
        self.views.save()
        if time.monotonic() < self.cleanup_at:
            return
        self.cleanup_at = time.monotonic() + CLEANUP_SECONDS
        self.cleanup_stale_threads(self.max_idle_hours)
        with self.database.write() as connection:
            store.purge_tombstones(connection, self.clock() - store.TOMBSTONE_SECONDS)
            users = store.evict_users(connection, self.limits.cached)
        if users:
            log_event(logging.INFO, events.USERS_EVICTED, users=len(users))
