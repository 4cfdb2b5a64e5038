"""What a file of Session-Buddy holds comes in: reflections and conversations as memories, insights as insights."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
#: Whatever type a column has, its text is read; nothing where it has none that we can read, or there is no column.
TEXT_COLUMN_SQL, TEXT_LIST_COLUMN_SQL = 'TRY_CAST("{0}" AS VARCHAR)', 'TRY_CAST("{0}" AS VARCHAR[])'
# What was used on the other side was used; nothing is ever taken back.
MERGE_INSIGHT_USAGE_SQL = """
UPDATE insights_insight kept SET
    usage_count = greatest(kept.usage_count, told.usage_count),
    last_used_at = greatest(kept.last_used_at, told.last_used_at)
FROM (
    SELECT memory_id, max(usage_count) AS usage_count, max(last_used_at) AS last_used_at
    FROM jsonb_to_recordset(%s::jsonb) AS row(memory_id uuid, usage_count integer, last_used_at timestamptz)
    GROUP BY memory_id
) told
WHERE kept.memory_id = told.memory_id AND (
    kept.usage_count < told.usage_count
    OR coalesce(kept.last_used_at < told.last_used_at, told.last_used_at IS NOT NULL)
)"""
#: The memories' ids in the order given, and how many of them are new.
StoreResult = tuple[list[UUID], int]
RowValues = dict[str, Any]


class SessionBuddyImport:
    """One reading of a file into a namespace. What is known already stays as it is, but for a use of it. In a dry run
    every batch is taken back at once: while one is open, others wait who keep an insight."""

    def __init__(self, namespace_id: int, tell: Callable[[str], None], *, dry_run: bool = False) -> None:
        self.namespace_id, self.tell, self.dry_run = namespace_id, tell, dry_run
        self.counts: dict[tuple[str, str], Counter] = {}
        self.ids: set[UUID] = set()
        #: Memories of conversations by the ids these have in the file: what was learned there names them.
        self.conversations: dict[str, UUID] = {}

    def run(self, file: DuckDBPyConnection, tables: Sequence[Table]) -> Iterator[None]:
        """One for each row that is done with. Each batch is a transaction, so what was interrupted goes on."""
        for table in tables:
            for batch in read_batches(file, table):
                learned, plain = self.read(table, batch)
                memories = [memory for _, memory in plain]
                self.count(table, plain, *store_batch(self.namespace_id, learned, memories, self.dry_run))
                yield from [None] * len(batch)

    def read(
        self, table: Table, batch: Sequence[RowValues]
    ) -> tuple[list[InsightDraft], list[tuple[SourceRow, MemoryIn]]]:
        """The insights and the others among the rows. Of a row that cannot be kept is told why."""
        learned, plain = [], []
        for values in batch:
            count = self.get_counter(table, INSIGHT_KIND if is_insight_row(table, values) else table.kind)
            count["read"] += 1
            try:
                row = SourceRow.model_validate(values)
                if is_insight_row(table, values):
                    learned.append(draft_from_row(table, row, self.conversations))
                else:
                    plain.append((row, memory_from_row(table, row)))
            except ValueError as error:
                count["skipped"] += 1
                self.tell(f"{table.name}, row {str(values['id'])[:100]!r}: {format_error(error)}")
        return learned, plain

    def count(
        self, table: Table, plain: list[tuple[SourceRow, MemoryIn]], insights: StoreResult, memories: StoreResult
    ) -> None:
        for kind, (ids, new) in ((INSIGHT_KIND, insights), (table.kind, memories)):
            if ids:
                self.get_counter(table, kind).update(new=new, known=len(ids) - new)
                self.ids.update(() if self.dry_run else ids)
        if table.kind == CONVERSATIONS and not self.dry_run:
            self.conversations |= {row.id: pk for (row, _), pk in zip(plain, memories[0], strict=True)}

    def get_counter(self, table: Table, kind: str) -> Counter:
        return self.counts.setdefault((table.name, kind), Counter())

    def report(self) -> Iterator[dict[str, Any]]:
        for (table, kind), count in self.counts.items():
            yield {"table": table, "kind": kind} | {name: count[name] for name in ("read", "new", "known", "skipped")}

    def describe_mismatch(self, total: int) -> str | None:
        """What does not agree: rows of the file and those that were read, what became of them, and what the database
        has now."""
        counted = sum((Counter(count) for count in self.counts.values()), Counter())
        told = counted["new"] + counted["known"] + counted["skipped"]
        there = Memory.objects.in_namespace(self.namespace_id)
        ids = list(self.ids)
        parts = [ids[start : start + COUNT_BATCH_SIZE] for start in range(0, len(ids), COUNT_BATCH_SIZE)]
        kept = sum(there.filter(pk__in=part).count() for part in parts)
        if not total == counted["read"] == told:
            return f"The file has {total:,} rows, {counted['read']:,} were read and {told:,} accounted for."
        if kept != len(ids):
            return f"{len(ids):,} memories should be there, the database has {kept:,}."
        return None


def count_table_rows(file: DuckDBPyConnection, tables: Sequence[Table]) -> int:
    """Rows of these tables."""
    return sum(file.execute(f"SELECT count(*) FROM {quote_identifier(table.name)}").fetchone()[0] for table in tables)


def read_batches(
    file: DuckDBPyConnection, table: Table, more: Mapping[str, str] | None = None
) -> Iterator[list[RowValues]]:
    """Rows by column: those of Row, and more, each with its SQL. They are read as they are asked for."""
    asked = {name: TEXT_COLUMN_SQL.format(name) for name in SourceRow.model_fields} | {
        "tags": TEXT_LIST_COLUMN_SQL.format("tags"),
        **(more or {}),
    }
    columns = ", ".join(sql if name in table.columns else "NULL" for name, sql in asked.items())
    rows = file.execute(f"SELECT {columns} FROM {quote_identifier(table.name)}")
    while found := rows.fetchmany(IMPORT_BATCH_SIZE):
        yield [dict(zip(asked, row, strict=True)) for row in found]


def is_insight_row(table: Table, values: RowValues) -> bool:
    """Whether it is a reflection that says what sort of insight it is."""
    return table.kind == REFLECTIONS and bool((values["insight_type"] or "").strip())


@retry_on_deadlock
def store_batch(
    namespace_id: int, learned: Sequence[InsightDraft], plain: Sequence[MemoryIn], dry_run: bool
) -> tuple[StoreResult, StoreResult]:
    """Insights first: whoever keeps one holds them all, and may not hold a memory before; nor may he hold one of them
    who still has to wait for all."""
    with transaction.atomic():
        insights, memories = store_insights(namespace_id, learned), store_memories(namespace_id, plain)
        merge_usage(insights[0], learned)
        transaction.set_rollback(dry_run)
    return insights, memories


def store_insights(namespace_id: int, learned: Sequence[InsightDraft]) -> StoreResult:
    digests = [digest(normalise_text(each.content)) for each in learned]
    alive = Insight.objects.filter(memory__in=Memory.objects.in_namespace(namespace_id))
    known = map_ids_by_digest(alive.filter(digest__in=digests).values_list("digest", "pk"))
    fresh = [n for n, each in enumerate(digests) if each not in known]
    kept = dict(zip(fresh, save_insights(namespace_id, [learned[n] for n in fresh]), strict=True))
    ids = [kept[n][0] if n in kept else known[each] for n, each in enumerate(digests)]
    return ids, sum(new for _, new in kept.values())


def store_memories(namespace_id: int, memories: Sequence[MemoryIn]) -> StoreResult:
    """Of the same content told twice the first is kept. All are of one type."""
    if not memories:
        return [], 0
    digests = [hashlib.sha256(memory.content.encode()).digest() for memory in memories]
    there = Memory.objects.in_namespace(namespace_id).filter(
        memory_type=memories[0].memory_type, user_id=None, entity_id=None, document_id=None
    )
    ids = map_ids_by_digest(there.filter(content_hash__in=digests).values_list("content_hash", "pk"))
    fresh: dict[bytes, MemoryIn] = {}
    for each, memory in zip(digests, memories, strict=True):
        if each not in ids:
            fresh.setdefault(each, memory)
    added, new = add_many(namespace_id, list(fresh.values())) if fresh else ([], 0)
    ids |= zip(fresh, added, strict=True)
    return [ids[each] for each in digests], new


def map_ids_by_digest(rows: Iterator[tuple[bytes, UUID]]) -> dict[bytes, UUID]:
    return {bytes(found): pk for found, pk in rows}


def merge_usage(ids: Sequence[UUID], learned: Sequence[InsightDraft]) -> None:
    """Of each insight the greater count of uses and the later use."""
    told = [
        {"memory_id": pk, "usage_count": each.usage_count, "last_used_at": each.last_used_at}
        for pk, each in zip(ids, learned, strict=True)
        if each.usage_count or each.last_used_at
    ]
    if told:
        with connection.cursor() as cursor:
            cursor.execute(MERGE_INSIGHT_USAGE_SQL, [to_json(told).decode()])
