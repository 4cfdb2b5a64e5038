"""What became of writes that the server has not taken: those that wait, and those that it refused."""

import sqlite3
import time

from memory_client.hybrid import outbox, store
from memory_client.hybrid.outbox import RefusedWrite
from memory_client.hybrid.parts import Parts

FLUSH_POLL_SECONDS = 0.02


class Waiting(Parts):
    """What sends, lists, repeats and forgets such writes."""

    def flush(self, timeout: float = 30.0) -> bool:
        """Send what waits now, also if the server was away a moment ago. Return whether everything that was written
        before this call has left the outbox, to the server or to the refused writes, within `timeout` seconds.

        Raises ForeignFile.
        """
        deadline = time.monotonic() + timeout
        with self.database.read() as connection:
            last = outbox.last_seq(connection)
        self.origin.doubt()
        self.sender.wake(at_once=True)
        while True:
            self.origin.require()
            with self.database.read() as connection:
                if not outbox.count_up_to(connection, last):
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(FLUSH_POLL_SECONDS)
            self.sender.wake()

    def refused(self, limit: int = 1_000) -> list[RefusedWrite]:
        """Return writes that the server will not take as they are, oldest first."""
        with self.database.read() as connection:
            return outbox.list_refused(connection, limit)

    def retry_refused(self, *ids: int) -> int:
        """Send refused writes again, behind all that wait; without ids all of them. Return how many."""
        with self.database.write(durable=True) as connection:
            chosen = ids or [each.id for each in outbox.list_refused(connection, self.limits.outbox)]
            count = sum(outbox.retry_refused(connection, each, self.clock()) for each in chosen)
        self.sender.wake()
        return count

    def discard_refused(self, *ids: int) -> int:
        """Forget refused writes, and memories that are only here because of them. Return how many."""
        with self.database.write() as connection:
            return sum(self._discard(connection, each) for each in ids)

    def _discard(self, connection: sqlite3.Connection, seq: int) -> bool:
        found = outbox.find_refused(connection, seq)
        if found is None:
            return False
        outbox.remove_refused(connection, seq)
        kind, memory_id = found
        if kind in (outbox.CREATE, outbox.MERGE) and store.read_etag(connection, memory_id) is None:
            store.mark_deleted(connection, memory_id, self.clock())
        return True
