"""Storing, changing and deleting memories: in the local file at once and, those of users, behind it in the outbox."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from memory_client.hybrid import events, outbox, store
from memory_client.hybrid.checks import (
    FIELDS,
    UPDATABLE_FIELDS,
    check_fields,
    check_label,
    check_object,
    check_unit,
    find_entity,
    to_json,
)
from memory_client.hybrid.errors import InvalidMemory, UnknownMemory
from memory_client.hybrid.events import log_event
from memory_client.hybrid.ids import make_uuid7
from memory_client.hybrid.nodes import FALLBACK_RELATIONSHIP_TYPE, RELATIONSHIP_TYPES, Node, merge_data
from memory_client.hybrid.parts import Parts
from memory_client.hybrid.server_memory import to_api, to_new_memory
from memory_client.hybrid.store import THREAD, USER

CONTENT_FIELDS = frozenset(("content", "context_type"))


class Writes(Parts):
    """What changes memories."""

    @contextmanager
    def _sending(self) -> Iterator[sqlite3.Connection]:
        """Provide a transaction that adds to the outbox, and send that afterwards.

        Raises ForeignFile, OutboxFull, LocalFileError.
        """
        self.origin.require()
        with self.database.write(durable=True) as connection:
            outbox.check_room(connection, self.limits.outbox)
            yield connection
        self.sender.wake()

    def store_persistent_memory(
        self, user_id: str, content: str | dict[str, Any], context_type: str, *, relates_to: Iterable[str] = (),
        depends_on: Iterable[str] = (), **fields: Any,
    ) -> str:  # fmt: skip
        """Store a memory of a user, here at once and on the server as soon as it takes it. Return its id.

        An object with both `entity_id` and `entity_system` is merged into the memory of that entity, whose id is
        returned. If only the server knows that entity yet, the memory gets its id as soon as the server answers; the id
        returned here goes on working. `fields`: see FIELDS. `relates_to`, `depends_on`: ids of memories; unknown ones
        are skipped. Raises InvalidMemory, OutboxFull, LocalFileError.
        """
        check_label(user_id, "user_id")
        node = self._make_node(content, context_type, fields, user_id=user_id)
        with self._sending() as connection:
            store.touch_scope(connection, USER, user_id, self.clock())
            node = self._store_or_merge(connection, node)
            self._relate_new(connection, node, relates_to, depends_on)
        return node.id

    def _make_node(self, content: Any, context_type: Any, fields: Mapping[str, Any], **owner: Any) -> Node:
        checked = check_fields({"content": content, "context_type": context_type, **fields}, FIELDS | CONTENT_FIELDS)
        now, ttl = self.clock(), checked.pop("ttl_seconds", None)
        entity = checked.pop("entity", None) or find_entity(checked["data"])
        if "confidence" in checked:  # which was the name of the relevance that a memory begins with
            checked.setdefault("base_relevance", checked["confidence"])
        return Node(
            id=make_uuid7(now),
            created_at=now,
            changed_at=now,
            expires_at=None if ttl is None else now + ttl,
            entity=entity,
            **owner,
            **checked,
        )

    def _store_or_merge(self, connection: sqlite3.Connection, node: Node) -> Node:
        """Write the node, or the one of its entity with what is new, and what the server is to do."""
        user_id, now = node.user_id or "", self.clock()
        request = to_new_memory(node)
        if node.entity is None:
            store.write_node(connection, node)
            outbox.enqueue(connection, outbox.CREATE, user_id, node.id, request, now)
            return node
        known = store.find_entity_node(connection, user_id, node.entity.system, node.entity.id)
        if known is not None:
            node = merge_entity(known, node)
            del request["id"]
        etag = store.read_etag(connection, node.id)
        store.write_node(connection, node, etag)
        outbox.enqueue(connection, outbox.MERGE, user_id, node.id, request, now)
        return node

    def _relate_new(
        self, connection: sqlite3.Connection, node: Node, relates_to: Iterable[str], depends_on: Iterable[str]
    ) -> None:
        for kind, ids in (("relates_to", relates_to), ("depends_on", depends_on)):
            for other in ids:
                found = store.read_node(connection, other, self.clock())
                if found is None or store.get_scope(found) != store.get_scope(node) or found.id == node.id:
                    log_event(logging.WARNING, events.UNKNOWN_NODE, node_id=node.id, other_id=str(other))
                    continue
                self._relate(connection, node, found, kind, 1.0, {})

    def _relate(
        self, connection: sqlite3.Connection, start: Node, finish: Node, kind: str, strength: float,
        metadata: dict[str, Any],
    ) -> None:  # fmt: skip
        store.write_relationship(connection, (start.id, finish.id), kind, strength, to_json(metadata, "metadata"))
        if start.thread_id is None:
            fields = {"type": kind, "strength": strength} | ({"metadata": metadata} if metadata else {})
            user_id = start.user_id or ""
            outbox.enqueue(connection, outbox.RELATE, user_id, start.id, fields, self.clock(), finish.id)

    def store_transient_memory(
        self, thread_id: str, content: str | dict[str, Any], context_type: str, *, relates_to: Iterable[str] = (),
        depends_on: Iterable[str] = (), **fields: Any,
    ) -> str:  # fmt: skip
        """Store a memory of a thread in the local file alone. Return its id. Raises InvalidMemory, LocalFileError."""
        check_label(thread_id, "thread_id")
        node = self._make_node(content, context_type, fields, thread_id=thread_id)
        with self.database.write() as connection:
            store.touch_scope(connection, THREAD, thread_id, self.clock())
            store.write_node(connection, node)
            self._relate_new(connection, node, relates_to, depends_on)
            store.trim_thread(connection, thread_id, self.limits.transient)
        return node.id

    def persist_relationship(
        self, user_id: str, from_id: str, to_id: str, type: str = FALLBACK_RELATIONSHIP_TYPE,
        strength: float = 1.0, metadata: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Relate two memories of a user, or change strength and metadata of their relationship.

        An unknown type becomes `relates_to`, with a warning in the log and its name in the metadata. Raises
        InvalidMemory, UnknownMemory, OutboxFull, LocalFileError.
        """
        strength, metadata = check_unit(strength, "strength"), check_object(metadata or {}, "metadata")
        if type not in RELATIONSHIP_TYPES:
            log_event(logging.WARNING, events.UNKNOWN_TYPE, relationship_type=str(type), node_id=from_id)
            metadata, type = metadata | {"original_type": str(type)}, FALLBACK_RELATIONSHIP_TYPE
        with self._sending() as connection:
            start, finish = (self._read_own(connection, each, user_id) for each in (from_id, to_id))
            if start.id == finish.id:
                raise InvalidMemory("to_id", "must be another memory")
            self._relate(connection, start, finish, type, strength, metadata)

    def _read_own(self, connection: sqlite3.Connection, memory_id: str, user_id: str | None = None) -> Node:
        """Return a persistent memory. Raises UnknownMemory, also for another user's."""
        node = store.read_node(connection, str(memory_id), self.clock())
        if node is None or node.thread_id is not None or user_id not in (None, node.user_id):
            raise UnknownMemory(str(memory_id))
        return node

    def update_persistent_memory(self, memory_id: str, **changes: Any) -> Node:
        """Change the given fields, here at once and on the server as soon as it takes them. Return the memory.

        Raises InvalidMemory, UnknownMemory, OutboxFull, LocalFileError.
        """
        checked = check_fields(changes, UPDATABLE_FIELDS)
        if not checked:
            raise InvalidMemory("changes", "must name at least one field")
        with self._sending() as connection:
            node = self._read_own(connection, memory_id)
            for name, value in checked.items():
                setattr(node, name, value)
            store.write_node(connection, node, store.read_etag(connection, node.id))
            outbox.enqueue(connection, outbox.UPDATE, node.user_id or "", node.id, to_api(checked), self.clock())
        return node

    def delete_persistent_memory(self, memory_id: str) -> bool:
        """Delete a memory here at once, and on the server as soon as it is there. Return whether it was here.

        Raises OutboxFull, LocalFileError.
        """
        with self._sending() as connection:
            try:
                node = self._read_own(connection, memory_id)
            except UnknownMemory:
                return False
            store.mark_deleted(connection, node.id, self.clock())
            outbox.enqueue(connection, outbox.DELETE, node.user_id or "", node.id, {}, self.clock())
        return True


def merge_entity(known: Node, new: Node) -> Node:
    """Return an entity's memory with what is new, as the server merges it."""
    merged = known
    merged.text, merged.data = new.text, merge_data(known.data, new.data)
    merged.summary = new.summary or known.summary
    merged.metadata = known.metadata | new.metadata
    merged.tags = list(dict.fromkeys(known.tags + new.tags))
    merged.changed_at = new.changed_at
    return merged
