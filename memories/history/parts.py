"""Bring back what hung on a memory: relationships, its insight, and references of other rows to it.

A relationship whose other end is still in the trash waits for that one. What cannot come back, because a row of the
same kind is there meanwhile or the row that referred to the memory is gone, is dropped.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models

from memories.graph.models import PendingRelationship, Relationship
from memories.history.models import DeletedPart
from memories.history.trigger_sql import CUT_REFERENCES
from memories.insights.models import Insight
from memories.insights.storage import lock_namespace_insights

# Each restores the parts of a kind that are ready and removes them from the kept ones.
RESTORE_ROWS_SQL = """
WITH ready AS (
    SELECT part.id AS part, {columns}
    FROM history_deletedpart part
    CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, part.row) AS kept
    {ends}
    WHERE part.namespace_id = %(namespace)s AND part.kind = %(kind)s
        AND (part.memory_id = ANY (%(ids)s) OR part.other_memory_id = ANY (%(ids)s))
),
restored AS (
    INSERT INTO {table} ({names}) SELECT {names} FROM ready ON CONFLICT DO NOTHING
)
DELETE FROM history_deletedpart
WHERE namespace_id = %(namespace)s AND id IN (SELECT part FROM ready)
"""
JOIN_END_SQL = """JOIN memories_memory {column}
        ON {column}.namespace_id = %(namespace)s AND {column}.id = kept.{column}_id AND {column}.owner = kept.owner"""
RESTORE_REFERENCES_SQL = """
WITH ready AS (
    DELETE FROM history_deletedpart
    WHERE namespace_id = %(namespace)s AND kind = %(kind)s AND memory_id = ANY (%(ids)s)
    RETURNING memory_id, (row ->> 'id')::uuid AS id
)
UPDATE {table} AS referring SET {column} = ready.memory_id FROM ready
WHERE referring.namespace_id = %(namespace)s AND referring.{key} = ready.id AND referring.{column} IS NULL
"""
IF_THERE_SQL = """(
        SELECT there.id FROM {table} there WHERE there.namespace_id = %(namespace)s AND there.id = kept.{column}
    ) AS {column}"""
#: The columns of an insight that refer to rows that may be gone, and the tables of these.
REFERENCES_OF_INSIGHT = {"source_memory_id": "memories_memory", "conversation_id": "sessions_app_conversation"}


def restore_parts(namespace_id: int, ids: Sequence[UUID]) -> None:
    """Restore what hung on memories that have just come back, in their transaction."""
    kinds = list_kinds(namespace_id, ids)
    if "insight" in kinds:
        lock_namespace_insights(namespace_id)
    statements = build_statements()
    with connection.cursor() as cursor:
        for kind in sorted(kinds, key=list(statements).index):
            cursor.execute(statements[kind], {"namespace": namespace_id, "kind": kind, "ids": list(ids)})


def list_kinds(namespace_id: int, ids: Sequence[UUID]) -> set[str]:
    parts = DeletedPart.objects.filter(namespace=namespace_id)
    own, others = parts.filter(memory_id__in=ids), parts.filter(other_memory_id__in=ids)
    return {kind for rows in (own, others) for kind in rows.values_list("kind", flat=True).distinct()}


def build_statements() -> dict[str, str]:
    """Return the statement of each kind of part, in the order in which they are restored: insights before what refers
    to them."""
    both_ends = [JOIN_END_SQL.format(column=column) for column in ("from_memory", "to_memory")]
    return {
        "insight": build_row_statement(Insight, [], REFERENCES_OF_INSIGHT),
        "relationship": build_row_statement(Relationship, both_ends),
        "pending relationship": build_row_statement(PendingRelationship, both_ends[:1]),
        **{
            kind: RESTORE_REFERENCES_SQL.format(table=table, column=column, key=key)
            for table, kind, column, key in CUT_REFERENCES
        },
    }


def build_row_statement(model: type[models.Model], ends: Sequence[str], references: Any = ()) -> str:
    names = [str(field.column) for field in model._meta.concrete_fields if not field.generated]
    columns = [
        IF_THERE_SQL.format(table=references[name], column=name) if name in references else f"kept.{name}"
        for name in names
    ]
    return RESTORE_ROWS_SQL.format(
        table=model._meta.db_table, names=", ".join(names), columns=", ".join(columns), ends=" ".join(ends)
    )
