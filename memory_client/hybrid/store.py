"""The rows of the local file: scopes, memories and relationships. Every function works in its caller's transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from memory_client.hybrid.nodes import Node, decode_node, encode

USER, THREAD = "user", "thread"
#: A deleted memory leaves its id for so long, so that no answer of the server that is under way brings it back.
TOMBSTONE_SECONDS = 3600.0
ALIVE_SQL = "deleted_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
UPSERT_MEMORY_SQL = """
INSERT INTO memories (id, kind, scope, touched, expires_at, entity_system, entity_id, etag, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, scope = excluded.scope, touched = excluded.touched,
    deleted_at = NULL, expires_at = excluded.expires_at, entity_system = excluded.entity_system,
    entity_id = excluded.entity_id, etag = excluded.etag, body = excluded.body
"""
UPSERT_RELATIONSHIP_SQL = """
INSERT INTO relationships (from_id, to_id, type, strength, metadata) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (from_id, to_id, type) DO UPDATE SET strength = excluded.strength, metadata = excluded.metadata
"""
#: Copies of what the server has.
OLDEST_COPIES_SQL = """
SELECT id FROM memories WHERE kind = 'user' AND deleted_at IS NULL AND id NOT IN (SELECT memory_id FROM outbox)
AND id NOT IN (SELECT other_id FROM outbox WHERE other_id IS NOT NULL) AND id NOT IN (SELECT memory_id FROM refused)
ORDER BY touched LIMIT ?
"""


def next_tick(connection: sqlite3.Connection) -> int:
    """Return the number of a new change."""
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'tick'")
    return read_counter(connection, "tick")


def read_counter(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0])


def touch_scope(connection: sqlite3.Connection, kind: str, name: str, now: float) -> None:
    """Note that the user or thread is in use, and create it."""
    connection.execute(
        "INSERT INTO scopes (kind, name, last_activity) VALUES (?, ?, ?) ON CONFLICT (kind, name)"
        " DO UPDATE SET last_activity = max(last_activity, excluded.last_activity)",
        (kind, name, now),
    )


def read_loaded_at(connection: sqlite3.Connection, user_id: str) -> float | None:
    """Return when a user's memories were loaded from the server last."""
    row = connection.execute("SELECT loaded_at FROM scopes WHERE kind = 'user' AND name = ?", (user_id,)).fetchone()
    return row[0] if row else None


def get_scope(node: Node) -> tuple[str, str]:
    return (THREAD, node.thread_id) if node.thread_id is not None else (USER, node.user_id or "")


def write_node(connection: sqlite3.Connection, node: Node, etag: str | None = None) -> None:
    """Insert or replace a memory, whose scope exists. `etag`: the server's, if this is what the server has."""
    entity = node.entity
    values = (
        *(node.id, *get_scope(node), next_tick(connection), node.expires_at),
        *((entity.system, entity.id) if entity else (None, None)),
        *(etag, encode(node).decode()),
    )
    connection.execute(UPSERT_MEMORY_SQL, values)


def resolve(connection: sqlite3.Connection, memory_id: str) -> str:
    """Return the id by which a memory is known now."""
    row = connection.execute("SELECT new_id FROM aliases WHERE old_id = ?", (memory_id,)).fetchone()
    return str(row[0]) if row else memory_id


def read_node(connection: sqlite3.Connection, memory_id: str, now: float) -> Node | None:
    """Return the memory with this id, or the one that it was merged into."""
    row = connection.execute(
        f"SELECT body FROM memories WHERE id = coalesce((SELECT new_id FROM aliases WHERE old_id = ?), ?)"
        f" AND {ALIVE_SQL}",
        (memory_id, memory_id, now),
    ).fetchone()
    return decode_node(row[0]) if row else None


def find_entity_node(connection: sqlite3.Connection, user_id: str, system: str, entity_id: str) -> Node | None:
    row = connection.execute(
        "SELECT body FROM memories WHERE kind = 'user' AND scope = ? AND entity_system = ? AND entity_id = ?"
        " AND deleted_at IS NULL LIMIT 1",
        (user_id, system, entity_id),
    ).fetchone()
    return decode_node(row[0]) if row else None


def read_etag(connection: sqlite3.Connection, memory_id: str) -> str | None:
    row = connection.execute("SELECT etag FROM memories WHERE id = ?", (memory_id,)).fetchone()
    return row[0] if row else None


def set_etag(connection: sqlite3.Connection, memory_id: str, etag: str) -> None:
    connection.execute("UPDATE memories SET etag = ? WHERE id = ?", (etag, memory_id))


def mark_deleted(connection: sqlite3.Connection, memory_id: str, now: float) -> None:
    """Delete a memory and its relationships, and leave its id; of one that is deleted, note that it changed."""
    connection.execute("DELETE FROM relationships WHERE from_id = ? OR to_id = ?", (memory_id, memory_id))
    connection.execute(
        "UPDATE memories SET deleted_at = ?, touched = ?, entity_system = NULL, entity_id = NULL, body = ''"
        " WHERE id = ?",
        (now, next_tick(connection), memory_id),
    )


def merge_into(connection: sqlite3.Connection, old_id: str, new_id: str, now: float) -> None:
    """Let everything that refers to a memory refer to the one that the server merged it into.

    The old row goes. Its id stays as an alias, and its relationships and waiting writes get the new id.
    """
    for end in ("from_id", "to_id"):
        connection.execute(f"UPDATE OR REPLACE relationships SET {end} = ? WHERE {end} = ?", (new_id, old_id))
    connection.execute("DELETE FROM relationships WHERE from_id = to_id")
    for table in ("outbox", "refused"):
        connection.execute(f"UPDATE {table} SET memory_id = ? WHERE memory_id = ?", (new_id, old_id))
        connection.execute(f"UPDATE {table} SET other_id = ? WHERE other_id = ?", (new_id, old_id))
    connection.execute("UPDATE aliases SET new_id = ? WHERE new_id = ?", (new_id, old_id))
    connection.execute("INSERT OR REPLACE INTO aliases (old_id, new_id) VALUES (?, ?)", (old_id, new_id))
    mark_deleted(connection, old_id, now)


def write_relationship(connection: sqlite3.Connection, ends: tuple[str, str], kind: str, strength: float,
                       metadata: str = "{}") -> None:  # fmt: skip
    note_relationship(connection)
    connection.execute(UPSERT_RELATIONSHIP_SQL, (*ends, kind, strength, metadata))


def note_relationship(connection: sqlite3.Connection) -> None:
    """Note that a relationship changed, here or on the server."""
    connection.execute("UPDATE counters SET value = ? WHERE name = 'related'", (next_tick(connection),))


def list_existing(connection: sqlite3.Connection, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that are memories here."""
    sql = "SELECT 1 FROM memories WHERE id = ? AND deleted_at IS NULL"
    return {each for each in ids if connection.execute(sql, (each,)).fetchone()}


def list_relationships(connection: sqlite3.Connection, memory_id: str) -> list[dict[str, Any]]:
    """Return those of a memory in both directions."""
    rows = connection.execute(
        "SELECT to_id, type, strength, 'out' FROM relationships WHERE from_id = ?"
        " UNION ALL SELECT from_id, type, strength, 'in' FROM relationships WHERE to_id = ?",
        (memory_id, memory_id),
    )
    return [dict(zip(("node_id", "type", "strength", "direction"), row, strict=True)) for row in rows]


def save_accesses(connection: sqlite3.Connection, accesses: Sequence[tuple[float, str]]) -> None:
    connection.executemany(
        "UPDATE memories SET accessed_at = max(coalesce(accessed_at, 0), ?) WHERE id = ?", list(accesses)
    )


def purge_tombstones(connection: sqlite3.Connection, before: float) -> int:
    """Remove what is left of memories that were deleted before a moment, and expired ones. Return how many."""
    return _purge(
        connection,
        "(deleted_at < ? OR expires_at < ?) AND id NOT IN (SELECT memory_id FROM outbox)"
        " AND id NOT IN (SELECT other_id FROM outbox WHERE other_id IS NOT NULL)"
        " AND id NOT IN (SELECT memory_id FROM refused)",
        (before, before),
    )


def remove_threads(connection: sqlite3.Connection, before: float) -> tuple[int, int]:
    """Remove threads that were last used before a moment. Return how many, and how many memories they had."""
    stale = "SELECT name FROM scopes WHERE kind = 'thread' AND last_activity < ?"
    memories = _purge(connection, f"kind = 'thread' AND scope IN ({stale})", (before,))
    threads = connection.execute("DELETE FROM scopes WHERE kind = 'thread' AND last_activity < ?", (before,)).rowcount
    return threads, memories


def trim_thread(connection: sqlite3.Connection, thread_id: str, keep: int) -> int:
    """Remove a thread's oldest memories beyond a number. Return how many."""
    where = "kind = 'thread' AND scope = ? AND deleted_at IS NULL"
    count = connection.execute(f"SELECT count(*) FROM memories WHERE {where}", (thread_id,)).fetchone()[0]
    if count <= keep:
        return 0
    oldest = f"SELECT id FROM memories WHERE {where} ORDER BY id LIMIT ?"
    return _purge(connection, f"id IN ({oldest})", (thread_id, count - keep))


def evict_users(connection: sqlite3.Connection, keep: int) -> list[str]:
    """Remove copies of users' memories until at most `keep` are left: those of the users who were idle for longest
    first, but neither of the last one nor of one with waiting or refused writes. Return the users."""
    evicted = []
    total = connection.execute("SELECT count(*) FROM memories WHERE kind = 'user'").fetchone()[0]
    idle = connection.execute(
        "SELECT name FROM scopes WHERE kind = 'user' AND name NOT IN (SELECT user_id FROM outbox)"
        " AND name NOT IN (SELECT user_id FROM refused) ORDER BY last_activity"
    ).fetchall()
    for (name,) in idle[:-1]:
        if total <= keep:
            break
        total -= _purge(connection, "kind = 'user' AND scope = ?", (name,))
        connection.execute("DELETE FROM scopes WHERE kind = 'user' AND name = ?", (name,))
        evicted.append(str(name))
    if total > keep:
        _purge(connection, f"id IN ({OLDEST_COPIES_SQL})", (total - keep,))
    return evicted


def _purge(connection: sqlite3.Connection, where: str, parameters: Sequence[Any]) -> int:
    """Delete rows without a trace: views that have not seen this tick are read again."""
    deleted = connection.execute(f"DELETE FROM memories WHERE {where}", parameters).rowcount
    if deleted:
        connection.execute("UPDATE counters SET value = ? WHERE name = 'purged'", (next_tick(connection),))
    return deleted
