"""What a file of Session-Buddy holds comes in: reflections and conversations as memories, insights as insights."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from duckdb import DuckDBPyConnection
from pydantic_core import to_json

from ingestion.session_buddy.records import Row, insight_of, memory_of, reason
from ingestion.session_buddy.schema import CONVERSATIONS, REFLECTIONS, Table, quoted
from memories.add import add_many
from memories.insights.minhash import digest, normalised
from memories.insights.models import Insight
from memories.insights.storage import InsightDraft, keep
from memories.models import Memory
from memories.schemas import MemoryIn
from memory_site.core.db.retry import surviving_deadlocks

BATCH, COUNTED_AT_ONCE = 500, 10_000
INSIGHTS = "insights"
#: Whatever type a column has, its text is read; nothing where it has none that we can read, or there is no column.
TEXT, TEXTS = 'TRY_CAST("{0}" AS VARCHAR)', 'TRY_CAST("{0}" AS VARCHAR[])'
# What was used on the other side was used; nothing is ever taken back.
USE = """
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
Kept = tuple[list[UUID], int]
Values = dict[str, Any]


class Import:
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
            for batch in batches(file, table):
                learned, plain = self.read(table, batch)
                memories = [memory for _, memory in plain]
                self.count(table, plain, *keep_batch(self.namespace_id, learned, memories, self.dry_run))
                yield from [None] * len(batch)

    def read(self, table: Table, batch: Sequence[Values]) -> tuple[list[InsightDraft], list[tuple[Row, MemoryIn]]]:
        """The insights and the others among the rows. Of a row that cannot be kept is told why."""
        learned, plain = [], []
        for values in batch:
            count = self.counter(table, INSIGHTS if is_insight(table, values) else table.kind)
            count["read"] += 1
            try:
                row = Row.model_validate(values)
                if is_insight(table, values):
                    learned.append(insight_of(table, row, self.conversations))
                else:
                    plain.append((row, memory_of(table, row)))
            except ValueError as error:
                count["skipped"] += 1
                self.tell(f"{table.name}, row {str(values['id'])[:100]!r}: {reason(error)}")
        return learned, plain

    def count(self, table: Table, plain: list[tuple[Row, MemoryIn]], insights: Kept, memories: Kept) -> None:
        for kind, (ids, new) in ((INSIGHTS, insights), (table.kind, memories)):
            if ids:
                self.counter(table, kind).update(new=new, known=len(ids) - new)
                self.ids.update(() if self.dry_run else ids)
        if table.kind == CONVERSATIONS and not self.dry_run:
            self.conversations |= {row.id: pk for (row, _), pk in zip(plain, memories[0], strict=True)}

    def counter(self, table: Table, kind: str) -> Counter:
        return self.counts.setdefault((table.name, kind), Counter())

    def report(self) -> Iterator[dict[str, Any]]:
        for (table, kind), count in self.counts.items():
            yield {"table": table, "kind": kind} | {name: count[name] for name in ("read", "new", "known", "skipped")}

    def disagreement(self, total: int) -> str | None:
        """What does not agree: rows of the file and those that were read, what became of them, and what the database
        has now."""
        counted = sum((Counter(count) for count in self.counts.values()), Counter())
        told = counted["new"] + counted["known"] + counted["skipped"]
        there = Memory.objects.in_namespace(self.namespace_id)
        ids = list(self.ids)
        parts = [ids[start : start + COUNTED_AT_ONCE] for start in range(0, len(ids), COUNTED_AT_ONCE)]
        kept = sum(there.filter(pk__in=part).count() for part in parts)
        if not total == counted["read"] == told:
            return f"The file has {total:,} rows, {counted['read']:,} were read and {told:,} accounted for."
        if kept != len(ids):
            return f"{len(ids):,} memories should be there, the database has {kept:,}."
        return None


def size(file: DuckDBPyConnection, tables: Sequence[Table]) -> int:
    """Rows of these tables."""
    return sum(file.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0] for table in tables)


def batches(file: DuckDBPyConnection, table: Table, more: Mapping[str, str] | None = None) -> Iterator[list[Values]]:
    """Rows by column: those of Row, and more, each with its SQL. They are read as they are asked for."""
    asked = {name: TEXT.format(name) for name in Row.model_fields} | {"tags": TEXTS.format("tags"), **(more or {})}
    columns = ", ".join(sql if name in table.columns else "NULL" for name, sql in asked.items())
    rows = file.execute(f"SELECT {columns} FROM {quoted(table.name)}")
    while found := rows.fetchmany(BATCH):
        yield [dict(zip(asked, row, strict=True)) for row in found]


def is_insight(table: Table, values: Values) -> bool:
    """Whether it is a reflection that says what sort of insight it is."""
    return table.kind == REFLECTIONS and bool((values["insight_type"] or "").strip())


@surviving_deadlocks
def keep_batch(
    namespace_id: int, learned: Sequence[InsightDraft], plain: Sequence[MemoryIn], dry_run: bool
) -> tuple[Kept, Kept]:
    """Insights first: whoever keeps one holds them all, and may not hold a memory before; nor may he hold one of them
    who still has to wait for all."""
    with transaction.atomic():
        insights, memories = keep_insights(namespace_id, learned), keep_memories(namespace_id, plain)
        use(insights[0], learned)
        transaction.set_rollback(dry_run)
    return insights, memories


def keep_insights(namespace_id: int, learned: Sequence[InsightDraft]) -> Kept:
    digests = [digest(normalised(each.content)) for each in learned]
    alive = Insight.objects.filter(memory__in=Memory.objects.in_namespace(namespace_id))
    known = by_digest(alive.filter(digest__in=digests).values_list("digest", "pk"))
    fresh = [n for n, each in enumerate(digests) if each not in known]
    kept = dict(zip(fresh, keep(namespace_id, [learned[n] for n in fresh]), strict=True))
    ids = [kept[n][0] if n in kept else known[each] for n, each in enumerate(digests)]
    return ids, sum(new for _, new in kept.values())


def keep_memories(namespace_id: int, memories: Sequence[MemoryIn]) -> Kept:
    """Of the same content told twice the first is kept. All are of one type."""
    if not memories:
        return [], 0
    digests = [hashlib.sha256(memory.content.encode()).digest() for memory in memories]
    there = Memory.objects.in_namespace(namespace_id).filter(
        memory_type=memories[0].memory_type, user_id=None, entity_id=None, document_id=None
    )
    ids = by_digest(there.filter(content_hash__in=digests).values_list("content_hash", "pk"))
    fresh: dict[bytes, MemoryIn] = {}
    for each, memory in zip(digests, memories, strict=True):
        if each not in ids:
            fresh.setdefault(each, memory)
    added, new = add_many(namespace_id, list(fresh.values())) if fresh else ([], 0)
    ids |= zip(fresh, added, strict=True)
    return [ids[each] for each in digests], new


def by_digest(rows: Iterator[tuple[bytes, UUID]]) -> dict[bytes, UUID]:
    return {bytes(found): pk for found, pk in rows}


def use(ids: Sequence[UUID], learned: Sequence[InsightDraft]) -> None:
    """Of each insight the greater count of uses and the later use."""
    told = [
        {"memory_id": pk, "usage_count": each.usage_count, "last_used_at": each.last_used_at}
        for pk, each in zip(ids, learned, strict=True)
        if each.usage_count or each.last_used_at
    ]
    if told:
        with connection.cursor() as cursor:
            cursor.execute(USE, [to_json(told).decode()])
