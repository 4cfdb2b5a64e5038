"""Import of a Session-Buddy file: reflections and conversations become memories, insights become insights."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from duckdb import DuckDBPyConnection
from pydantic_core import to_json

from ingestion.session_buddy.records import SourceRow, draft_from_row, format_error, memory_from_row
from ingestion.session_buddy.schema import CONVERSATIONS, REFLECTIONS, Table, quote_identifier
from memories.add import add_many
from memories.insights.minhash import digest, normalise_text
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, save_insights
from memories.models import Memory
from memories.schemas import MemoryIn
from memory_site.core.db.retry import retry_on_deadlock

IMPORT_BATCH_SIZE, COUNT_BATCH_SIZE = 500, 10_000
INSIGHT_KIND = "insights"
#: Columns of any type are read as text; a value without one, or a missing column, is null.
TEXT_COLUMN_SQL, TEXT_LIST_COLUMN_SQL = 'TRY_CAST("{0}" AS VARCHAR)', 'TRY_CAST("{0}" AS VARCHAR[])'
# Use counts only grow: the greater count and the later use of both sides stay.
MERGE_INSIGHT_USAGE_SQL = """
UPDATE insights_insight insight SET
    usage_count = greatest(insight.usage_count, given.usage_count),
    last_used_at = greatest(insight.last_used_at, given.last_used_at)
FROM (
    SELECT memory_id, max(usage_count) AS usage_count, max(last_used_at) AS last_used_at
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS row(memory_id uuid, usage_count integer, last_used_at timestamptz)
    GROUP BY memory_id
) given
WHERE insight.namespace_id = %(namespace)s AND insight.memory_id = given.memory_id AND (
    insight.usage_count < given.usage_count
    OR coalesce(insight.last_used_at < given.last_used_at, given.last_used_at IS NOT NULL)
)"""
#: The memories' ids in the order of the input, and how many of them are new.
StoreResult = tuple[list[UUID], int]
RowValues = dict[str, Any]


class SessionBuddyImport:
    """The import of one file into a namespace. Existing rows change only in their use count and last use.

    A dry run rolls back each batch, not the whole import: an open transaction blocks other writers of insights.
    `report_skipped` gets a sentence for each skipped row. `timezone` is that of times without an offset.
    """

    def __init__(
        self,
        namespace_id: int,
        report_skipped: Callable[[str], None],
        *,
        timezone: tzinfo = UTC,
        dry_run: bool = False,
    ) -> None:
        self.namespace_id, self.report_skipped, self.dry_run = namespace_id, report_skipped, dry_run
        self.timezone = timezone
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.ids: set[UUID] = set()
        #: Memories by the conversation ids of the file, which insights refer to.
        self.conversations: dict[str, UUID] = {}

    def run(self, file: DuckDBPyConnection, tables: Sequence[Table]) -> Iterator[None]:
        """Import the tables, yielding once for each row. Each batch is a transaction: an interrupted run can go on."""
        for table in tables:
            for batch in read_batches(file, table):
                insights, others = self.parse_batch(table, batch)
                memories = [memory for _, memory in others]
                self.count(table, others, *store_batch(self.namespace_id, insights, memories, self.dry_run))
                yield from [None] * len(batch)

    def parse_batch(
        self, table: Table, batch: Sequence[RowValues]
    ) -> tuple[list[InsightDraft], list[tuple[SourceRow, MemoryIn]]]:
        """Return the insights among the rows, and the other rows with their memories. Report invalid rows."""
        insights, others = [], []
        for values in batch:
            count = self.get_counter(table, INSIGHT_KIND if is_insight_row(table, values) else table.kind)
            count["read"] += 1
            try:
                row = SourceRow.model_validate(values, context={"timezone": self.timezone})
                if is_insight_row(table, values):
                    insights.append(draft_from_row(table, row, self.conversations))
                else:
                    others.append((row, memory_from_row(table, row)))
            except ValueError as error:
                count["skipped"] += 1
                self.report_skipped(f"{table.name}, row {str(values['id'])[:100]!r}: {format_error(error)}")
        return insights, others

    def count(
        self, table: Table, others: list[tuple[SourceRow, MemoryIn]], insights: StoreResult, memories: StoreResult
    ) -> None:
        for kind, (ids, new) in ((INSIGHT_KIND, insights), (table.kind, memories)):
            if ids:
                self.get_counter(table, kind).update(new=new, known=len(ids) - new)
                self.ids.update(() if self.dry_run else ids)
        if table.kind == CONVERSATIONS and not self.dry_run:
            self.conversations |= {row.id: pk for (row, _), pk in zip(others, memories[0], strict=True)}

    def get_counter(self, table: Table, kind: str) -> Counter[str]:
        return self.counts.setdefault((table.name, kind), Counter())

    def report(self) -> Iterator[dict[str, Any]]:
        for (table, kind), count in self.counts.items():
            yield {"table": table, "kind": kind} | {name: count[name] for name in ("read", "new", "known", "skipped")}

    def describe_mismatch(self, total: int) -> str | None:
        """Compare the counts: rows of the file, read rows, their results, and memories in the database.

        Return a sentence about the first difference, or None.
        """
        counted: Counter[str] = sum((Counter(count) for count in self.counts.values()), Counter())
        accounted = counted["new"] + counted["known"] + counted["skipped"]
        memories, ids = Memory.objects.in_namespace(self.namespace_id), list(self.ids)
        parts = [ids[start : start + COUNT_BATCH_SIZE] for start in range(0, len(ids), COUNT_BATCH_SIZE)]
        stored = sum(memories.filter(pk__in=part).count() for part in parts)
        if not total == counted["read"] == accounted:
            return f"The file has {total:,} rows, {counted['read']:,} were read and {accounted:,} accounted for."
        if stored != len(ids):
            return f"{len(ids):,} memories were expected, the database has {stored:,}."
        return None


def count_table_rows(file: DuckDBPyConnection, tables: Sequence[Table]) -> int:
    return sum(fetch_count(file, f"SELECT count(*) FROM {quote_identifier(table.name)}") for table in tables)


def fetch_count(file: DuckDBPyConnection, sql: str, parameters: Sequence[str] = ()) -> int:
    [(count,)] = file.execute(sql, parameters).fetchall()
    return count


def read_batches(
    file: DuckDBPyConnection, table: Table, more: Mapping[str, str] | None = None
) -> Iterator[list[RowValues]]:
    """Yield batches of rows as dicts of SourceRow's columns and `more`, which maps further columns to their SQL."""
    selected = {name: TEXT_COLUMN_SQL.format(name) for name in SourceRow.model_fields} | {
        "tags": TEXT_LIST_COLUMN_SQL.format("tags"),
        **(more or {}),
    }
    columns = ", ".join(sql if name in table.columns else "NULL" for name, sql in selected.items())
    rows = file.execute(f"SELECT {columns} FROM {quote_identifier(table.name)}")
    while batch := rows.fetchmany(IMPORT_BATCH_SIZE):
        yield [dict(zip(selected, row, strict=True)) for row in batch]


def is_insight_row(table: Table, values: RowValues) -> bool:
    """Return whether the row is a reflection with an insight type."""
    return table.kind == REFLECTIONS and bool((values["insight_type"] or "").strip())


@retry_on_deadlock
def store_batch(
    namespace_id: int, drafts: Sequence[InsightDraft], memories_in: Sequence[MemoryIn], dry_run: bool
) -> tuple[StoreResult, StoreResult]:
    """Store a batch in one transaction.

    Insights come before memories: the namespace's insight lock must be taken before any memory row is locked.
    """
    with transaction.atomic():
        insights, memories = store_insights(namespace_id, drafts), store_memories(namespace_id, memories_in)
        merge_usage(namespace_id, insights[0], drafts)
        transaction.set_rollback(dry_run)
    return insights, memories


def store_insights(namespace_id: int, drafts: Sequence[InsightDraft]) -> StoreResult:
    """Store the insights whose text is not stored yet."""
    digests = [digest(normalise_text(draft.content)) for draft in drafts]
    existing = Insight.objects.filter(namespace=namespace_id, memory__in=Memory.objects.in_namespace(namespace_id))
    known = map_ids_by_digest(existing.filter(digest__in=digests).values_list("digest", "pk"))
    unknown = [n for n, each in enumerate(digests) if each not in known]
    saved = dict(zip(unknown, save_insights(namespace_id, [drafts[n] for n in unknown]), strict=True))
    ids = [saved[n][0] if n in saved else known[each] for n, each in enumerate(digests)]
    return ids, sum(is_new for _, is_new in saved.values())


def store_memories(namespace_id: int, memories: Sequence[MemoryIn]) -> StoreResult:
    """Store memories of one type whose content is not stored yet; of equal contents the first one."""
    if not memories:
        return [], 0
    digests = [hashlib.sha256(memory.content.encode()).digest() for memory in memories]
    existing = Memory.objects.in_namespace(namespace_id).filter(
        memory_type=memories[0].memory_type, user_id=None, entity_id=None, document_id=None
    )
    ids = map_ids_by_digest(existing.filter(content_hash__in=digests).values_list("content_hash", "pk"))
    unknown: dict[bytes, MemoryIn] = {}
    for each, memory in zip(digests, memories, strict=True):
        if each not in ids:
            unknown.setdefault(each, memory)
    added, new = add_many(namespace_id, list(unknown.values())) if unknown else ([], 0)
    ids |= zip(unknown, added, strict=True)
    return [ids[each] for each in digests], new


def map_ids_by_digest(rows: Iterable[tuple[bytes | memoryview, UUID]]) -> dict[bytes, UUID]:
    return {bytes(each): pk for each, pk in rows}


def merge_usage(namespace_id: int, ids: Sequence[UUID], drafts: Sequence[InsightDraft]) -> None:
    """Raise the use count and the last use of stored insights to those of the drafts."""
    usage = [
        {"memory_id": pk, "usage_count": each.usage_count, "last_used_at": each.last_used_at}
        for pk, each in zip(ids, drafts, strict=True)
        if each.usage_count or each.last_used_at
    ]
    if usage:
        with connection.cursor() as cursor:
            parameters: dict[str, Any] = {"namespace": namespace_id, "rows": to_json(usage).decode()}
            cursor.execute(MERGE_INSIGHT_USAGE_SQL, parameters)
