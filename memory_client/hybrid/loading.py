"""A user's memories, as the server has them, taken over into the local file."""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from memory_client.calls import fill_path
from memory_client.errors import MemoryClientError
from memory_client.hybrid import events, outbox, store
from memory_client.hybrid.database import Database
from memory_client.hybrid.delivery import Requests
from memory_client.hybrid.events import log_event
from memory_client.hybrid.nodes import Node, decode_node, encode
from memory_client.hybrid.server_memory import ServerMemory, from_api

#: As many memories as the server returns, the newest ones. Of older ones it says nothing.
SNAPSHOT_SIZE = 1_000


class ServerRelationship(msgspec.Struct):
    from_id: str
    to_id: str
    type: str
    strength: float
    metadata: dict[str, Any] = {}


class Snapshot(msgspec.Struct):
    memories: list[ServerMemory]
    relationships: list[ServerRelationship]


class LocalRow(NamedTuple):
    touched: int
    deleted_at: float | None
    etag: str | None
    body: str


def load_user(database: Database, client: Requests, user_id: str, clock: Callable[[], float]) -> None:
    """Take over the server's newest memories of a user. Raises MemoryClientError.

    What was changed here since the request began, or waits for the server, or was refused by it, stays as it is here.
    """
    with database.read() as connection:
        mark = store.read_counter(connection, "tick")
    log_event(logging.INFO, events.LOADING, user_id=user_id)
    try:
        snapshot = client.request("GET", fill_path("/users/{*user_id}/memories", user_id=user_id), type=Snapshot)
    except MemoryClientError as error:
        log_event(logging.WARNING, events.LOAD_FAILED, user_id=user_id, error=type(error).__name__)
        raise
    with database.write() as connection:
        Takeover(connection, user_id, mark, clock()).apply(snapshot)
    log_event(
        logging.INFO,
        events.LOADED,
        user_id=user_id,
        nodes=len(snapshot.memories),
        relationships=len(snapshot.relationships),
    )


class Takeover:
    """`mark`: the tick at which the request began."""

    def __init__(self, connection: sqlite3.Connection, user_id: str, mark: int, now: float) -> None:
        self.connection, self.user_id, self.mark, self.now = connection, user_id, mark, now
        store.touch_scope(connection, store.USER, user_id, now)
        self.waiting = outbox.list_waiting(connection, user_id)
        self.rows = self._read_rows()

    def _read_rows(self) -> dict[str, LocalRow]:
        rows = self.connection.execute(
            "SELECT id, touched, deleted_at, etag, body FROM memories WHERE kind = 'user' AND scope = ?",
            (self.user_id,),
        )
        return {row[0]: LocalRow(*row[1:]) for row in rows}

    def apply(self, snapshot: Snapshot) -> None:
        nodes = [from_api(memory) for memory in snapshot.memories]
        for node, memory in zip(nodes, snapshot.memories, strict=True):
            if self._is_newer(node, memory.version):
                store.write_node(self.connection, node, memory.version)
        self._remove_missing(nodes)
        self._write_relationships(snapshot)
        self.connection.execute(
            "UPDATE scopes SET loaded_at = ? WHERE kind = 'user' AND name = ?", (self.now, self.user_id)
        )

    def _is_newer(self, node: Node, etag: str) -> bool:
        """Return whether the server's copy is newer than ours."""
        row = self.rows.get(node.id)
        if node.id in self.waiting or (row and row.touched > self.mark):
            return False
        if row is None and self._merge_waits(node):
            return False
        return row is None or row.deleted_at is not None or row.etag != etag

    def _merge_waits(self, node: Node) -> bool:
        """Return whether the entity is here under an id that it will lose as soon as its write is answered."""
        if node.entity is None:
            return False
        here = store.find_entity_node(self.connection, self.user_id, node.entity.system, node.entity.id)
        return here is not None and here.id in self.waiting

    def _remove_missing(self, nodes: list[Node]) -> None:
        there = {node.id for node in nodes}
        is_complete = len(nodes) < SNAPSHOT_SIZE
        oldest = min((node.created_at for node in nodes), default=0.0)
        for memory_id, row in self.rows.items():
            if row.deleted_at is not None or memory_id in there or memory_id in self.waiting or row.touched > self.mark:
                continue
            if is_complete or decode_node(row.body).created_at > oldest:
                store.mark_deleted(self.connection, memory_id, self.now)

    def _write_relationships(self, snapshot: Snapshot) -> None:
        """Make the relationships among the snapshot's memories those of the server, but for those that wait."""
        there = {memory.id for memory in snapshot.memories}
        waits = set(
            self.connection.execute(
                "SELECT memory_id, other_id FROM outbox WHERE user_id = ? AND kind = 'relate'", (self.user_id,)
            )
        )
        wanted = {
            (each.from_id, each.to_id, each.type): (each.strength, encode(each.metadata).decode())
            for each in snapshot.relationships
        }
        here = self._read_relationships()
        has_changed = store.read_counter(self.connection, "related") > self.mark
        for key in () if has_changed else here.keys() - wanted.keys():
            if key[0] in there and key[1] in there and key[:2] not in waits:
                self.connection.execute("DELETE FROM relationships WHERE from_id = ? AND to_id = ? AND type = ?", key)
        changed = [key for key, value in wanted.items() if here.get(key) != value and key[:2] not in waits]
        existing = store.list_existing(self.connection, {end for key in changed for end in key[:2]})
        for start, finish, kind in changed:
            if start in existing and finish in existing:
                store.write_relationship(self.connection, (start, finish), kind, *wanted[start, finish, kind])

    def _read_relationships(self) -> dict[tuple[str, str, str], tuple[float, str]]:
        rows = self.connection.execute(
            "SELECT from_id, to_id, type, strength, relationships.metadata FROM relationships"
            " JOIN memories ON memories.id = from_id WHERE kind = 'user' AND scope = ?",
            (self.user_id,),
        )
        return {row[:3]: row[3:] for row in rows}
