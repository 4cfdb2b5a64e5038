"""Writes that wait for the server, and those that it refused. Every function works in its caller's transaction."""

import sqlite3
from collections.abc import Iterable
from itertools import accumulate
from typing import Any
from uuid import uuid4

import msgspec

from memory_client.hybrid.errors import OutboxFull

CREATE, MERGE, UPDATE, DELETE, RELATE = "create", "merge", "update", "delete", "relate"
MAX_REASON_LENGTH = 500
#: Of the bodies in one request, as JSON; the server takes 5 MB.
MAX_BATCH_CHARACTERS = 1_000_000
ENTRY_COLUMNS = "seq, kind, user_id, memory_id, other_id, body, request_key, written_at, attempts, first_sent_at, batch"
BATCH_SQL = f"SELECT {ENTRY_COLUMNS} FROM outbox WHERE batch = ? ORDER BY seq"
#: New memories that were never sent, and of which nothing older waits.
UNSENT_SQL = f"""
SELECT {ENTRY_COLUMNS} FROM outbox WHERE kind = 'create' AND attempts = 0 AND NOT EXISTS (
    SELECT 1 FROM outbox older WHERE older.memory_id = outbox.memory_id AND older.seq < outbox.seq
) ORDER BY seq LIMIT ?
"""
REFUSED_COLUMNS = (
    "seq, kind, user_id, memory_id, other_id, body, written_at, refused_at, status, reason, errors, memory"
)


class Entry(msgspec.Struct, frozen=True):
    """A write that waits. request_key: its Idempotency-Key and its X-Request-ID, in every attempt of any process.

    first_sent_at: when it was first attempted. Whether that attempt came to anything is not known. batch: the id of
    the request that it was last sent in together with others.
    """

    seq: int
    kind: str
    user_id: str
    memory_id: str
    other_id: str | None
    body: str
    request_key: str
    written_at: float
    attempts: int
    first_sent_at: float | None
    batch: str | None = None

    @property
    def fields(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)


class RefusedWrite(msgspec.Struct, frozen=True):
    """A write that the server will not take as it is. `memory`: the memory as it was here, or None."""

    id: int
    kind: str
    user_id: str
    memory_id: str
    other_id: str | None
    fields: dict[str, Any]
    written_at: float
    refused_at: float
    status: int
    reason: str
    errors: list[dict[str, str]]
    memory: dict[str, Any] | None


def enqueue(connection: sqlite3.Connection, kind: str, user_id: str, memory_id: str, fields: Any, now: float,
            other_id: str | None = None) -> int:  # fmt: skip
    """Add a write behind all others. Return its number."""
    body = msgspec.json.encode(fields).decode()
    cursor = connection.execute(
        "INSERT INTO outbox (kind, user_id, memory_id, other_id, body, request_key, written_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, user_id, memory_id, other_id, body, str(uuid4()), now),
    )
    return int(cursor.lastrowid or 0)


def check_room(connection: sqlite3.Connection, limit: int) -> None:
    """Raise OutboxFull if no further write may wait."""
    waiting, refused = count_entries(connection)
    if waiting + refused >= limit:
        raise OutboxFull(
            f"{waiting:,} writes wait for the server and {refused:,} were refused: no more than {limit:,} are kept. "
            "Retry or discard the refused ones."
        )


def count_entries(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many writes wait, and how many were refused."""
    waiting, refused = connection.execute(
        "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM refused)"
    ).fetchone()
    return int(waiting), int(refused)


def read_next(connection: sqlite3.Connection, limit: int) -> list[Entry]:
    """Return the first waiting write, with those that go into the same request: what was sent together is sent
    together again, and with a new memory go others, up to `limit` and MAX_BATCH_CHARACTERS.

    New memories overtake writes of other memories so, but never one of their own.
    """
    row = connection.execute(f"SELECT {ENTRY_COLUMNS} FROM outbox ORDER BY seq LIMIT 1").fetchone()
    if row is None:
        return []
    first = Entry(*row)
    if first.batch is not None:
        return _list_entries(connection, BATCH_SQL, first.batch)
    if first.kind != CREATE or first.attempts > 0:
        return [first]
    unsent = _list_entries(connection, UNSENT_SQL, limit)
    sizes = accumulate(len(each.body) for each in unsent)
    return unsent[: max(sum(size <= MAX_BATCH_CHARACTERS for size in sizes), 1)]


def _list_entries(connection: sqlite3.Connection, sql: str, parameter: Any) -> list[Entry]:
    return [Entry(*row) for row in connection.execute(sql, (parameter,))]


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the number of the newest waiting write, or 0."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM outbox").fetchone()[0])


def count_up_to(connection: sqlite3.Connection, seq: int) -> int:
    return int(connection.execute("SELECT count(*) FROM outbox WHERE seq <= ?", (seq,)).fetchone()[0])


def mark_attempt(connection: sqlite3.Connection, entries: list[Entry], now: float) -> None:
    """Note an attempt before it is made: after a crash the next attempt has to look what came of it."""
    batch = None if len(entries) == 1 else str(uuid4())
    connection.executemany(
        "UPDATE outbox SET attempts = attempts + 1, first_sent_at = coalesce(first_sent_at, ?), batch = ?"
        " WHERE seq = ?",
        [(now, batch, each.seq) for each in entries],
    )


def split(connection: sqlite3.Connection, entries: Iterable[Entry], *, is_unsent: bool) -> None:
    """Let each of these be sent for itself, or in another batch if none of them has reached the server."""
    sql = "UPDATE outbox SET batch = NULL" + (", attempts = 0, first_sent_at = NULL" if is_unsent else "")
    connection.executemany(f"{sql} WHERE seq = ?", [(each.seq,) for each in entries])


def note_error(connection: sqlite3.Connection, entries: Iterable[Entry], error: str) -> None:
    values = [(error[:MAX_REASON_LENGTH], each.seq) for each in entries]
    connection.executemany("UPDATE outbox SET last_error = ? WHERE seq = ?", values)


def remove(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute("DELETE FROM outbox WHERE seq = ?", (seq,))


def is_waiting(connection: sqlite3.Connection, memory_id: str) -> bool:
    """Return whether a write of this memory waits or was refused, so that the server's copy is not what is here."""
    sql = "SELECT 1 FROM {} WHERE memory_id = ? AND kind <> 'relate' LIMIT 1"
    return any(connection.execute(sql.format(table), (memory_id,)).fetchone() for table in ("outbox", "refused"))


def list_waiting(connection: sqlite3.Connection, user_id: str) -> set[str]:
    """Return the memories of a user for which `is_waiting`."""
    sql = "SELECT memory_id FROM {} WHERE user_id = ? AND kind <> 'relate'"
    return {row[0] for table in ("outbox", "refused") for row in connection.execute(sql.format(table), (user_id,))}


def refuse(connection: sqlite3.Connection, entry: Entry, status: int, reason: str, errors: Any, now: float) -> None:
    """Move a write to the refused ones, with the memory as it is here."""
    row = connection.execute("SELECT body FROM memories WHERE id = ?", (entry.memory_id,)).fetchone()
    memory = row[0] if row and row[0] else None
    connection.execute(
        f"INSERT INTO refused ({REFUSED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(entry.seq, entry.kind, entry.user_id, entry.memory_id, entry.other_id, entry.body, entry.written_at),
            *(now, status, reason[:MAX_REASON_LENGTH], msgspec.json.encode(errors).decode(), memory),
        ),
    )
    remove(connection, entry.seq)


def replace(connection: sqlite3.Connection, seq: int, kind: str, fields: Any) -> None:
    """Make another write of a waiting one, at its place."""
    connection.execute(
        "UPDATE outbox SET kind = ?, body = ?, request_key = ?, attempts = 0, first_sent_at = NULL WHERE seq = ?",
        (kind, msgspec.json.encode(fields).decode(), str(uuid4()), seq),
    )


def list_refused(connection: sqlite3.Connection, limit: int) -> list[RefusedWrite]:
    rows = connection.execute(f"SELECT {REFUSED_COLUMNS} FROM refused ORDER BY seq LIMIT ?", (limit,)).fetchall()
    return [to_refused_write(row) for row in rows]


def to_refused_write(row: tuple[Any, ...]) -> RefusedWrite:
    named = dict(zip(RefusedWrite.__struct_fields__, row, strict=True))
    for name in ("fields", "errors", "memory"):
        named[name] = None if named[name] is None else msgspec.json.decode(named[name])
    return RefusedWrite(**named)


def retry_refused(connection: sqlite3.Connection, seq: int, now: float) -> bool:
    """Put a refused write behind all waiting ones. Return whether there was one."""
    row = connection.execute(
        "SELECT kind, user_id, memory_id, body, other_id FROM refused WHERE seq = ?", (seq,)
    ).fetchone()
    if row is None:
        return False
    kind, user_id, memory_id, body, other_id = row
    enqueue(connection, kind, user_id, memory_id, msgspec.Raw(body.encode()), now, other_id)
    connection.execute("DELETE FROM refused WHERE seq = ?", (seq,))
    return True


def forget_refused(connection: sqlite3.Connection, memory_id: str, before: int, kind: str | None = None) -> int:
    """Remove refused writes of a memory that are older than a write. Return how many."""
    return connection.execute(
        "DELETE FROM refused WHERE memory_id = ? AND seq < ? AND kind = coalesce(?, kind)", (memory_id, before, kind)
    ).rowcount


def forget_later(connection: sqlite3.Connection, memory_id: str, after: int, kind: str) -> int:
    """Remove waiting writes of a memory that are newer than a write. Return how many."""
    return connection.execute(
        "DELETE FROM outbox WHERE memory_id = ? AND seq > ? AND kind = ?", (memory_id, after, kind)
    ).rowcount


def find_refused(connection: sqlite3.Connection, seq: int) -> tuple[str, str] | None:
    """Return kind and memory of a refused write."""
    return connection.execute("SELECT kind, memory_id FROM refused WHERE seq = ?", (seq,)).fetchone()


def remove_refused(connection: sqlite3.Connection, seq: int) -> None:
    connection.execute("DELETE FROM refused WHERE seq = ?", (seq,))
