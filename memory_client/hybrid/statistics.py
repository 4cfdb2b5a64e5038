"""Numbers: of a user's memories on both sides, and of the local file."""

import sqlite3
from dataclasses import dataclass
from typing import Any, NamedTuple

from memory_client.calls import fill_path
from memory_client.errors import MemoryClientError, NotFound
from memory_client.hybrid import outbox, store
from memory_client.hybrid.backoff import SERVER
from memory_client.hybrid.parts import Parts
from memory_client.hybrid.store import THREAD, USER

MAX_COUNTS = 10

#: Memories that are new here, and not on the server: no version of it is known, and a write that makes it waits.
NEW_SQL = """
SELECT count(*) FROM memories WHERE kind = 'user' AND scope = :user AND deleted_at IS NULL AND etag IS NULL AND EXISTS (
    SELECT 1 FROM outbox WHERE memory_id = memories.id AND outbox.kind IN ('create', 'merge')
    UNION ALL SELECT 1 FROM refused WHERE memory_id = memories.id AND refused.kind IN ('create', 'merge')
)
"""
#: Memories that the server has, and that are deleted here.
DELETED_SQL = """
SELECT count(*) FROM outbox o WHERE user_id = :user AND kind = 'delete' AND NOT EXISTS (
    SELECT 1 FROM outbox earlier
    WHERE earlier.memory_id = o.memory_id AND earlier.kind IN ('create', 'merge') AND earlier.attempts = 0
)
"""
#: Of several that were sent in one request the server took all or none.
SENT_SQL = """
SELECT kind, memory_id, (kind IN ('create', 'merge')) * max(1, (
    SELECT count(*) FROM outbox same JOIN memories ON memories.id = same.memory_id
    WHERE same.batch = sent.batch AND same.user_id = :user AND deleted_at IS NULL
))
FROM outbox sent WHERE user_id = :user AND attempts > 0 AND kind <> 'relate' ORDER BY seq LIMIT 1
"""
WAITING_SQL = "SELECT count(*), coalesce(max(seq), 0) FROM outbox WHERE user_id = :user"


class UserCounts(NamedTuple):
    """local: memories here. new: those that the server does not have. deleted: those that it has and that are deleted
    here. waiting: how many writes wait, and the last one's number. sent: kind and memory of a write that the server may
    have taken already, and how many new memories it has then. is_loaded: whether they were ever loaded."""

    local: int
    new: int
    deleted: int
    waiting: tuple[int, int]
    sent: tuple[str, str, int] | None
    is_loaded: bool


@dataclass(frozen=True)
class Status:
    """waiting: writes that the server has not taken yet. refused: those that it will not take as they are. conflicts:
    how often a memory had been changed on the server before an update made here arrived.

    blocked_by: what made the last attempt of this process fail, so that writes wait: "server", which is away or too
    busy; "key", which the server refuses (401, 403); "address", at which something else answers; "file", which belongs
    to another site or namespace; or None. last_error: what the attempt failed with.
    """

    waiting: int
    refused: int
    blocked_by: str | None
    last_error: str | None
    conflicts: int
    cached: int
    transient: int
    file_bytes: int

    @property
    def server_away(self) -> bool:
        """Whether writes wait for the server alone: it takes them when it is back."""
        return self.blocked_by == SERVER


class Statistics(Parts):
    """What counts."""

    def get_user_stats(self, user_id: str) -> dict[str, Any]:
        """Return numbers of a user's memories, each counted once.

        `local_count`: those in the local file. `waiting_count`: those among them that the server does not have yet.
        `server`: its numbers of the user, or None while it is away. `combined_node_count`: memories in all. Raises
        ForeignFile.
        """
        server, counts = self._count_consistently(user_id)
        combined = counts.local if server is None else server["memories"] + counts.new - counts.deleted
        return {
            "user_id": user_id,
            "loaded": counts.is_loaded,
            "local_count": counts.local,
            "waiting_count": counts.new,
            "server": server,
            "combined_node_count": combined,
        }

    def _count_consistently(self, user_id: str) -> tuple[dict[str, Any] | None, UserCounts]:
        """Return the server's numbers and ours of a moment at which no write of the user was stored or taken."""
        for _ in range(MAX_COUNTS):
            before = self._count_user(user_id)
            server = self._read_server_stats(user_id)
            counts = self._correct(before) if server else before
            if self._count_user(user_id) == before:
                break
        return server, counts

    def _correct(self, counts: UserCounts) -> UserCounts:
        """Count a write that the server has taken, but whose answer is not here yet, as the server does."""
        if counts.sent is None:
            return counts
        kind, memory_id, new = counts.sent
        try:
            self.server.request("GET", f"/memories/{memory_id}")
        except NotFound:
            return counts._replace(deleted=counts.deleted - (kind == outbox.DELETE))
        except MemoryClientError:
            return counts
        return counts._replace(new=max(counts.new - new, 0))

    def _count_user(self, user_id: str) -> UserCounts:
        with self.database.read() as connection:
            return count_user(connection, user_id, self.clock())

    def _read_server_stats(self, user_id: str) -> dict[str, Any] | None:
        try:
            self.origin.check()
            return self.server.request("GET", fill_path("/users/{*user_id}", user_id=user_id))
        except NotFound:
            return {"user_id": user_id, "memories": 0, "relationships": 0, "statistics": None}
        except MemoryClientError as error:
            if not error.is_temporary:
                raise
            return None

    def status(self) -> Status:
        """Return what waits, what was refused, and how large the local file is."""
        with self.database.read() as connection:
            waiting, refused = outbox.count_entries(connection)
            counts = dict(
                connection.execute("SELECT kind, count(*) FROM memories WHERE deleted_at IS NULL GROUP BY kind")
            )
            conflicts = store.read_counter(connection, "conflicts")
        backoff = self.sender.backoff
        size = self.path.stat().st_size
        return Status(
            waiting,
            refused,
            backoff.blocked_by,
            backoff.last_error,
            conflicts,
            counts.get(USER, 0),
            counts.get(THREAD, 0),
            size,
        )


def count_user(connection: sqlite3.Connection, user_id: str, now: float) -> UserCounts:
    def read(sql: str) -> Any:
        return connection.execute(sql, {"user": user_id, "now": now}).fetchone()

    alive = store.ALIVE_SQL.replace("?", ":now")
    connection.execute("BEGIN")  # all of one moment
    try:
        (local,) = read(f"SELECT count(*) FROM memories WHERE kind = 'user' AND scope = :user AND {alive}")
        is_loaded = store.read_loaded_at(connection, user_id) is not None
        (new,), (deleted,) = read(NEW_SQL), read(DELETED_SQL)
        return UserCounts(local, new, deleted, read(WAITING_SQL), read(SENT_SQL), is_loaded)
    finally:
        connection.execute("COMMIT")
