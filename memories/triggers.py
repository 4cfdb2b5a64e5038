"""Every trigger of the database: what it keeps true, and why that is not application code.

The SQL stands in migrations 0004_triggers, 0011_triggers_by_namespace, 0016_memory_state, 0018_memory_key and
insights/0006_follow_type, that of history in memories/history/trigger_sql.py. This list is what a reader looks at
first: tests/memories/test_triggers.py compares it with a migrated database in both directions, and with
docs/architecture/triggers.md. After a change, print the tables of that page with `python -m memories.triggers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from memories.history.trigger_sql import CUT_REFERENCES, DELETED_ROWS, KEPT_COLUMNS, SILENT_COLUMNS


@dataclass(frozen=True)
class Trigger:
    """A trigger and its function, which have the same name. A trigger on UPDATE of `columns` has a WHEN `condition`."""

    name: str
    table: str
    timing: str
    event: str
    level: str
    keeps: str
    reason: str
    columns: tuple[str, ...] = ()
    condition: str = ""

    def describe_event(self) -> str:
        columns = " of " + ", ".join(f"`{column}`" for column in self.columns) if self.columns else ""
        condition = f", if {self.condition}" if self.condition else ""
        return f"{self.timing.lower()} {self.event}{columns}, per {self.level.lower()}{condition}"


MEMORY = "memories_memory"
RELATIONSHIP = "graph_relationship"

TRIGGERS_BUT_PARTS = (
    Trigger(
        "graph_resolve_inserted_entities", MEMORY, "AFTER", "INSERT", "STATEMENT",
        keeps="A pending relationship becomes a relationship when its entity is stored.",
        reason="Memories are inserted by the API, imports, ingestion and SQL of our own; each would have to know.",
    ),
    Trigger(
        "knowledge_cluster_inserted_memories", MEMORY, "AFTER", "INSERT", "STATEMENT",
        keeps="Every type and set of tags that a memory has is a cluster, or is queued in `knowledge_duecluster`.",
        reason="A cluster exists exactly while memories do, whatever inserts them.",
    ),
    Trigger(
        "memories_queue_inserted", MEMORY, "AFTER", "INSERT", "STATEMENT",
        keeps="An active memory without a vector is in the embedding queue, `memories_dueembedding`.",
        reason="The row is queued in the transaction that stores it: no crash in between loses a vector.",
    ),
    Trigger(
        "users_count_inserted_memories", MEMORY, "AFTER", "INSERT", "STATEMENT",
        keeps="The rows of `graph_usertotal` add up to the memories of each user.",
        reason="An exact total in one transaction with the rows; it only inserts, so that writers do not wait.",
    ),
    Trigger(
        "memories_count_revision", MEMORY, "BEFORE", "UPDATE", "ROW",
        keeps="Every change of a memory moves its revision, which is its `ETag`; counting its uses does not.",
        reason="A client that writes over a change it has not read is refused, whatever made the change.",
        columns=(*KEPT_COLUMNS, *SILENT_COLUMNS),
    ),
    Trigger(
        "graph_resolve_changed_entity", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="The same for a memory that becomes the entity that is waited for.",
        reason="As for inserted entities.",
        columns=("user_id", "entity_system", "entity_id"),
        condition="it names an entity, and owner or entity changed",
    ),
    Trigger(
        "history_keep_changed_memory", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="`history_memoryversion` has the row that a change replaced, with who changed it.",
        reason="Bulk work and SQL by hand change memories too.",
        columns=KEPT_COLUMNS,
        condition="they changed",
    ),
    Trigger(
        "insights_follow_type", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="A memory that is no insight has no row in `insights_insight`.",
        reason="A statement that replaces a memory by its key sees no row that was committed while it waited.",
        columns=("memory_type",),
        condition="it was an insight and is none",
    ),
    Trigger(
        "knowledge_recluster_changed_memory", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="The cluster of the new tags exists, and that of the old ones does not outlive its last memory.",
        reason="As for inserted memories.",
        columns=("memory_type", "tags"),
        condition="they changed",
    ),
    Trigger(
        "memories_follow_state", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="A memory that is not active has no vector and does not wait for one; active again, it waits.",
        reason="Vector searches read the vectors alone, so one that is left would show a superseded memory.",
        columns=("state",),
        condition="it changed",
    ),
    Trigger(
        "memories_queue_edited", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="A memory whose content changed is in the embedding queue again, with no attempts counted.",
        reason="No edit, by whatever statement, leaves a vector of the old content for good.",
        columns=("content",),
        condition="it changed and the memory is active",
    ),
    Trigger(
        "memories_sync_embedding_labels", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="A vector's labels and expiry equal those of its memory.",
        reason="Vector searches filter by the copies alone, so a missed copy would show a row to the wrong user.",
        columns=("user_id", "memory_type", "repo_id", "expires_at"),
        condition="they changed",
    ),
    Trigger(
        "users_count_moved_memory", MEMORY, "AFTER", "UPDATE", "ROW",
        keeps="A memory that gets another owner counts for the new one and no longer for the old one.",
        reason="As for inserted memories.",
        columns=("user_id",),
        condition="the owner changed",
    ),
    Trigger(
        "history_forget_deleted_memory", MEMORY, "AFTER", "DELETE", "ROW",
        keeps="Nothing is kept of a memory that expired, was replaced or erased, or went with its document.",
        reason="Foreign keys delete chunks, which no application code sees.",
        condition="it is one of these",
    ),
    Trigger(
        "history_keep_deleted_memory", MEMORY, "AFTER", "DELETE", "ROW",
        keeps="`history_memoryversion` has the deleted row, with who deleted it.",
        reason="As for changed memories.",
        condition="it is none of these",
    ),
    Trigger(
        "knowledge_uncluster_deleted_memories", MEMORY, "AFTER", "DELETE", "STATEMENT",
        keeps="A cluster that no caller described does not outlive its last memory.",
        reason="Memories are also deleted by foreign keys, and tags may name a user who is being erased.",
    ),
    Trigger(
        "users_count_deleted_memories", MEMORY, "AFTER", "DELETE", "STATEMENT",
        keeps="Deleted memories are subtracted from the totals.",
        reason="Memories are also deleted by foreign keys, which no application code sees.",
    ),
    Trigger(
        "users_count_truncated_memories", MEMORY, "AFTER", "TRUNCATE", "STATEMENT",
        keeps="After TRUNCATE all totals of memories are 0.",
        reason="TRUNCATE fires no other trigger.",
    ),
    Trigger(
        "users_count_inserted_relationships", RELATIONSHIP, "AFTER", "INSERT", "STATEMENT",
        keeps="The rows of `graph_usertotal` add up to the relationships of each user.",
        reason="Most relationships are inserted by a trigger, for an entity that arrived.",
    ),
    Trigger(
        "users_count_moved_relationship", RELATIONSHIP, "AFTER", "UPDATE", "ROW",
        keeps="A relationship that gets another owner counts for the new one and no longer for the old one.",
        reason="As for inserted relationships.",
        columns=("owner",),
        condition="the owner changed",
    ),
    Trigger(
        "users_count_deleted_relationships", RELATIONSHIP, "AFTER", "DELETE", "STATEMENT",
        keeps="Deleted relationships are subtracted from the totals.",
        reason="Foreign keys delete them together with either of their memories.",
    ),
    Trigger(
        "users_count_truncated_relationships", RELATIONSHIP, "AFTER", "TRUNCATE", "STATEMENT",
        keeps="After TRUNCATE all totals of relationships are 0.",
        reason="TRUNCATE fires no other trigger.",
    ),
    Trigger(
        "graph_resolve_inserted_pending", "graph_pendingrelationship", "AFTER", "INSERT", "STATEMENT",
        keeps="A relationship to an entity that exists does not stay pending.",
        reason="The entity may be committed between a check in the application and the insert.",
    ),
    Trigger(
        "knowledge_lock_new_cluster", "knowledge_cluster", "BEFORE", "INSERT", "ROW",
        keeps="One transaction at a time inserts clusters of a lock number; there are 64 for each namespace.",
        reason="A trigger on memories tries the same lock without waiting, so every insert has to take it.",
    ),
)  # fmt: skip
PART_TRIGGERS = (
    *(
        Trigger(
            "history_keep_part", table, "AFTER", "DELETE", "ROW",
            keeps=f"`history_deletedpart` has each {kind} that was deleted with its memory.",
            reason="Foreign keys delete them, which no application code sees.",
            condition="a foreign key deletes it",
        )
        for table, kind, _ in DELETED_ROWS
    ),
    *(
        Trigger(
            "history_keep_reference", table, "AFTER", "UPDATE", "ROW",
            keeps=f"`history_deletedpart` says of which {kind} the memory was deleted.",
            reason="Foreign keys set the column to NULL, which no application code sees.",
            columns=(column,),
            condition="a foreign key set it to NULL",
        )
        for table, kind, column, _ in CUT_REFERENCES
    ),
)  # fmt: skip


def sort_by_table(triggers: Sequence[Trigger]) -> tuple[Trigger, ...]:
    tables = list(dict.fromkeys(trigger.table for trigger in triggers))
    return tuple(sorted(triggers, key=lambda trigger: tables.index(trigger.table)))


#: By table and event. Triggers of one event fire in the order of their names, which is their order here.
TRIGGERS = sort_by_table((*TRIGGERS_BUT_PARTS, *PART_TRIGGERS))


TABLE_HEAD = "| trigger | fires | keeps true | why it is not application code |\n| --- | --- | --- | --- |"


def render_tables() -> str:
    """Return the list as Markdown: a heading and a table for each table."""
    return "\n\n".join(
        "\n".join([f"## On `{table}`\n\n{TABLE_HEAD}", *map(render_row, triggers)])
        for table, triggers in groupby(TRIGGERS, key=lambda trigger: trigger.table)
    )


def render_row(trigger: Trigger) -> str:
    return f"| `{trigger.name}` | {trigger.describe_event()} | {trigger.keeps} | {trigger.reason} |"


if __name__ == "__main__":
    print(render_tables())
