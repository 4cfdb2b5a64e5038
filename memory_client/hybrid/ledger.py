"""What an attempt makes of the outbox and of the memories. Each step is one transaction."""

import logging
import sqlite3
from collections.abc import Callable, Iterable

from memory_client.errors import MemoryClientError, NotFound, ProblemError
from memory_client.hybrid import events, outbox, store
from memory_client.hybrid.database import Database
from memory_client.hybrid.delivery import Outcome
from memory_client.hybrid.events import log_event
from memory_client.hybrid.nodes import Node
from memory_client.hybrid.outbox import Entry
from memory_client.hybrid.server_memory import from_api, to_new_memory


class Ledger:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self.database, self.clock = database, clock

    def has_waiting(self) -> bool:
        with self.database.read() as connection:
            return outbox.last_seq(connection) > 0

    def begin(self, limit: int) -> tuple[list[Entry], str | None]:
        """Return the writes of the next request, at most `limit`, and the server's version of the memory of the first.

        Notes that they are being sent.
        """
        with self.database.write() as connection:
            entries = outbox.read_next(connection, limit)
            outbox.mark_attempt(connection, entries, self.clock())
            return entries, store.read_etag(connection, entries[0].memory_id) if entries else None

    def finish(self, done: list[tuple[Entry, Outcome]], left: Iterable[Entry] = ()) -> None:
        """Take over what the server has now. Each of those that are `left` is sent again for itself."""
        with self.database.write() as connection:
            for entry, outcome in done:
                outbox.remove(connection, entry.seq)
                self._apply(connection, entry, outcome)
            outbox.split(connection, left, is_unsent=False)
        for entry, outcome in done:
            self._log(entry, outcome)

    def release(self, entries: list[Entry]) -> None:
        """Note that none of these has reached the server."""
        with self.database.write() as connection:
            outbox.split(connection, entries, is_unsent=True)

    def refuse(self, entry: Entry, error: ProblemError) -> None:
        reason = " ".join(part for part in (error.title, error.detail) if part)
        errors = [{"field": each.field, "message": each.message} for each in error.errors]
        with self.database.write(durable=True) as connection:
            if isinstance(error, NotFound) and self._create_instead(connection, entry):
                return
            outbox.refuse(connection, entry, error.status, reason, errors, self.clock())
            if isinstance(error, NotFound) and entry.kind == outbox.UPDATE:  # it was deleted, which wins
                store.mark_deleted(connection, entry.memory_id, self.clock())
        self._log_failure(entry, error, permanent=True)

    def note_failure(self, entries: list[Entry], error: MemoryClientError) -> None:
        with self.database.write() as connection:
            outbox.note_error(connection, entries, type(error).__name__)
        for entry in entries:
            self._log_failure(entry, error, permanent=False)

    def _create_instead(self, connection: sqlite3.Connection, entry: Entry) -> bool:
        """Store a memory as it is now, if this update is of one that the server refused to store as it was.

        It may be waiting again, behind the update.
        """
        node = store.read_node(connection, entry.memory_id, self.clock())
        if entry.kind != outbox.UPDATE or node is None:
            return False
        refused = outbox.forget_refused(connection, entry.memory_id, entry.seq, outbox.CREATE)
        if not refused and not outbox.forget_later(connection, entry.memory_id, entry.seq, outbox.CREATE):
            return False
        outbox.replace(connection, entry.seq, outbox.CREATE, to_new_memory(node))
        return True

    def _apply(self, connection: sqlite3.Connection, entry: Entry, outcome: Outcome) -> None:
        """Take over what the server has now, unless a later write of the memory waits."""
        if outcome.is_conflict:
            connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'conflicts'")
        if outcome.is_gone:
            store.mark_deleted(connection, entry.memory_id, self.clock())
            outbox.forget_refused(connection, entry.memory_id, entry.seq)
        if entry.kind == outbox.RELATE:
            store.note_relationship(connection)
        if outcome.memory is None:
            return
        node, etag = from_api(outcome.memory), outcome.memory.version
        if node.id != entry.memory_id:
            self._merge(connection, entry, node)
        if outbox.is_waiting(connection, node.id):
            store.set_etag(connection, node.id, etag)
        elif store.list_existing(connection, [node.id]):  # deleted here, or evicted: no copy is kept
            store.write_node(connection, node, etag)

    def _merge(self, connection: sqlite3.Connection, entry: Entry, node: Node) -> None:
        """Give what was stored under this entry's id the id of the entity that the server had already."""
        was_deleted = not store.list_existing(connection, [entry.memory_id])
        if not store.list_existing(connection, [node.id]):
            store.write_node(connection, node)
        store.merge_into(connection, entry.memory_id, node.id, self.clock())
        if was_deleted:
            store.mark_deleted(connection, node.id, self.clock())
        log_event(logging.INFO, events.MERGED, node_id=node.id, user_id=entry.user_id, local_id=entry.memory_id)

    def _log(self, entry: Entry, outcome: Outcome) -> None:
        event = events.RELATIONSHIP_PERSISTED if entry.kind == outbox.RELATE else events.PERSISTED
        node_id = outcome.memory.id if outcome.memory else entry.memory_id
        log_event(logging.INFO, event, node_id=node_id, user_id=entry.user_id, operation=entry.kind)
        if outcome.is_conflict:
            log_event(logging.WARNING, events.CONFLICT, node_id=node_id, user_id=entry.user_id)

    def _log_failure(self, entry: Entry, error: MemoryClientError, *, permanent: bool) -> None:
        log_event(
            logging.ERROR if permanent else logging.WARNING,
            events.NOT_PERSISTED,
            node_id=entry.memory_id,
            user_id=entry.user_id,
            operation=entry.kind,
            error=type(error).__name__,
            status=getattr(error, "status", None),
            request_id=entry.request_key,
            permanent=permanent,
        )
