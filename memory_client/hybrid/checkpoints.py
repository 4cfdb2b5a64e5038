"""States of workflows, kept in the local file alone."""

import sqlite3
from typing import Any

import msgspec

from memory_client.hybrid.checks import check_label, check_object, to_json
from memory_client.hybrid.ids import make_uuid7
from memory_client.hybrid.parts import Parts

CHECKPOINT_COLUMNS = "id, workflow_id, state, metadata, created_at"


class Checkpoint(msgspec.Struct, frozen=True):
    """A state of a workflow. `created_at`: seconds since 1970."""

    id: str
    workflow_id: str
    state: Any
    metadata: dict[str, Any]
    created_at: float


class Checkpoints(Parts):
    """What keeps the states of workflows."""

    def save_checkpoint(
        self, workflow_id: str, state: Any, *, checkpoint_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> str:
        """Store a state, which is JSON, as the workflow's newest checkpoint in the local file. Return its id."""
        check_label(workflow_id, "workflow_id")
        now = self.clock()
        metadata = check_object(metadata or {}, "metadata")
        checkpoint = Checkpoint(checkpoint_id or make_uuid7(now), workflow_id, state, metadata, now)
        texts = to_json(state, "state"), to_json(metadata, "metadata")
        with self.database.write() as connection:
            save(connection, checkpoint, *texts, keep=self.limits.checkpoints)
        return checkpoint.id

    def load_checkpoint(self, workflow_id: str, checkpoint_id: str | None = None) -> Checkpoint | None:
        """Return a checkpoint by its id, or the workflow's newest, or None."""
        with self.database.read() as connection:
            return load(connection, workflow_id, checkpoint_id)

    def list_checkpoints(self, workflow_id: str) -> list[Checkpoint]:
        """Return the checkpoints that are kept, newest first."""
        with self.database.read() as connection:
            return list_newest_first(connection, workflow_id)

    def delete_checkpoints(self, workflow_id: str) -> int:
        """Delete a workflow's checkpoints. Return how many there were."""
        with self.database.write() as connection:
            return delete(connection, workflow_id)


def save(connection: sqlite3.Connection, checkpoint: Checkpoint, state: str, metadata: str, keep: int) -> None:
    """Insert or replace a checkpoint as the workflow's newest, and remove its oldest beyond `keep`."""
    workflow = checkpoint.workflow_id
    connection.execute("DELETE FROM checkpoints WHERE workflow_id = ? AND id = ?", (workflow, checkpoint.id))
    connection.execute(
        "INSERT INTO checkpoints (workflow_id, id, state, metadata, created_at) VALUES (?, ?, ?, ?, ?)",
        (workflow, checkpoint.id, state, metadata, checkpoint.created_at),
    )
    connection.execute(
        "DELETE FROM checkpoints WHERE workflow_id = ? AND number NOT IN"
        " (SELECT number FROM checkpoints WHERE workflow_id = ? ORDER BY number DESC LIMIT ?)",
        (workflow, workflow, keep),
    )


def load(connection: sqlite3.Connection, workflow_id: str, checkpoint_id: str | None) -> Checkpoint | None:
    """Return a checkpoint by its id, or the workflow's newest."""
    row = connection.execute(
        f"SELECT {CHECKPOINT_COLUMNS} FROM checkpoints WHERE workflow_id = ? AND id = coalesce(?, id)"
        " ORDER BY number DESC LIMIT 1",
        (workflow_id, checkpoint_id),
    ).fetchone()
    return to_checkpoint(row) if row else None


def list_newest_first(connection: sqlite3.Connection, workflow_id: str) -> list[Checkpoint]:
    rows = connection.execute(
        f"SELECT {CHECKPOINT_COLUMNS} FROM checkpoints WHERE workflow_id = ? ORDER BY number DESC", (workflow_id,)
    )
    return [to_checkpoint(row) for row in rows]


def to_checkpoint(row: tuple[Any, ...]) -> Checkpoint:
    checkpoint_id, workflow_id, state, metadata, created_at = row
    decode = msgspec.json.decode
    return Checkpoint(checkpoint_id, workflow_id, decode(state), decode(metadata), created_at)


def delete(connection: sqlite3.Connection, workflow_id: str) -> int:
    return connection.execute("DELETE FROM checkpoints WHERE workflow_id = ?", (workflow_id,)).rowcount
