"""A namespace's insights go into a file of Session-Buddy, each once; what else stands there is left alone."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from duckdb import DuckDBPyConnection
from pydantic_core import to_json

from ingestion.session_buddy.export_rows import (
    build_reflection_row,
    format_naive_utc,
    get_candidate_ids,
    truncate_vector,
)
from ingestion.session_buddy.importer import TEXT_COLUMN_SQL, RowValues, count_table_rows, is_insight_row, read_batches
from ingestion.session_buddy.records import parse_utc_datetime
from ingestion.session_buddy.schema import (
    CONVERSATIONS,
    REFLECTIONS,
    VECTOR_DIMENSIONS,
    Layout,
    Table,
    choose_target_table,
    create_or_alter_table,
    find_tables,
    get_missing_columns,
    quote_identifier,
    with_missing_columns,
)
from memories.insights.minhash import digest, normalise_text
from memories.insights.models import Insight
from memories.models import Embedding, Memory
from sessions_app.models import Namespace

EXPORT_BATCH_SIZE = 500
#: Session-Buddy embeds with it: only its vectors may meet the ones in the file.
SHARED_MODEL = "all-minilm-l6-v2"
#: A row as DuckDB takes it out of one JSON parameter.
ROW_TYPES = {
    "id": "VARCHAR", "conversation_id": "VARCHAR", "content": "VARCHAR", "tags": ["VARCHAR"], "metadata": "VARCHAR",
    "created_at": "TIMESTAMP", "updated_at": "TIMESTAMP", "timestamp": "TIMESTAMP", "project": "VARCHAR",
    "category": "VARCHAR", "insight_type": "VARCHAR", "usage_count": "INTEGER", "last_used_at": "TIMESTAMP",
    "confidence_score": "REAL", "embedding": ["FLOAT"],
}  # fmt: skip
ROW_TYPES_JSON = json.dumps([ROW_TYPES])
#: Of a row in the file, besides what an import reads.
EXISTING_ROW_COLUMNS = {
    "updated_at": TEXT_COLUMN_SQL.format("updated_at"),
    "usage_count": "TRY_CAST(usage_count AS BIGINT)",
    "embedding": "embedding IS NOT NULL",
}
GIVEN_ROWS_SQL = "(SELECT unnest(from_json(?::JSON, ?), max_depth := 2)) given"
COUNT_EXISTING_IDS_SQL = (
    """SELECT count(DISTINCT id) FROM {} WHERE id IN (SELECT unnest(from_json(?::JSON, '["VARCHAR"]')))"""
)


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row to be written: all of a new one, of another what is different."""

    table: Table
    row: dict[str, Any]
    is_new: bool


@dataclass(slots=True)
class ExistingRow:
    """A row of the file, as far as we must know it."""

    table: Table
    id: str
    #: Of its text where it is an insight.
    digest: bytes | None
    usage_count: int
    last_used_at: datetime | None
    updated_at: datetime | None
    embedded: bool


class SessionBuddyExport:
    """One writing of a namespace's insights. In a dry run nothing is written, but all is counted."""

    def __init__(self, namespace: Namespace, file: DuckDBPyConnection, layout: Layout, *, dry_run: bool) -> None:
        self.namespace, self.file, self.layout, self.dry_run = namespace, file, layout, dry_run
        self.tables = {table.name: table for table in find_tables(file)}
        self.row_counts_before = {table.name: count_table_rows(file, [table]) for table in self.tables.values()}
        there = [each for table in self.tables.values() for each in read_existing_rows(file, table)]
        self.by_id = {each.id: each for each in there}
        self.by_digest = {each.digest: each for each in reversed(there) if each.digest}
        self.conversations = fetch_conversation_ids(file, self.tables.values())
        self.own_digests = {bytes(each) for each in self.insights().values_list("digest", flat=True)}
        self.pending_tables: list[tuple[Table, Table | None]] = []
        self.counts: dict[str, Counter] = {}
        self.written_ids: dict[str, set[str]] = {}

    def insights(self) -> QuerySet:
        return Insight.objects.filter(memory__in=Memory.objects.in_namespace(self.namespace.pk))

    def run(self) -> Iterator[None]:
        """One for each insight that is done with. Each batch is a transaction of the file."""
        rows = self.insights().select_related("memory").defer("bands", "memory__search_vector").order_by("pk")
        batch = list(rows[:EXPORT_BATCH_SIZE])
        while batch:
            vectors = self.vectors([insight.pk for insight in batch])
            self.write([self.plan_change(insight, vectors.get(insight.pk)) for insight in batch])
            yield from [None] * len(batch)
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:EXPORT_BATCH_SIZE])

    def plan_change(self, insight: Insight, vector: list[float] | None) -> RowChange | None:
        """What is to be written of an insight, nothing where the file says it all; and note where it stands."""
        text = digest(normalise_text(insight.memory.content))
        held = self.by_digest.get(text) or self.find_former_row(insight)
        change = self.changes(insight, held, text, vector) if held else self.new(insight, text, vector)
        held = held or self.by_digest[text]
        count = self.counts.setdefault(held.table.name, Counter())
        count["insights"] += 1
        count["known" if change is None else "new" if change.is_new else "updated"] += 1
        self.written_ids.setdefault(held.table.name, set()).add(held.id)
        return change

    def find_former_row(self, insight: Insight) -> ExistingRow | None:
        """The row that was its own before one of the two texts was changed, unless that is another insight's now."""
        found = [self.by_id.get(each) for each in get_candidate_ids(insight)[:2]]
        return next((held for held in found if held and held.digest and held.digest not in self.own_digests), None)

    def changes(self, insight: Insight, held: ExistingRow, text: bytes, vector: list[float] | None) -> RowChange | None:
        """What both sides know better together: the greater use, the later text, a vector where there is none."""
        row: dict[str, Any] = {}
        memory = insight.memory
        if text != held.digest and (held.updated_at is None or held.updated_at < memory.updated_at):
            row = {"content": memory.content, "updated_at": format_naive_utc(memory.updated_at), "embedding": vector}
            self.by_digest[text], held.digest, held.embedded = held, text, vector is not None
        if insight.usage_count > held.usage_count:
            row["usage_count"] = held.usage_count = insight.usage_count
        if insight.last_used_at and (held.last_used_at is None or insight.last_used_at > held.last_used_at):
            row["last_used_at"], held.last_used_at = format_naive_utc(insight.last_used_at), insight.last_used_at
        if vector and not held.embedded and text == held.digest:
            row["embedding"], held.embedded = vector, True
        return RowChange(self.ready(held.table), row | {"id": held.id}, is_new=False) if row else None

    def new(self, insight: Insight, text: bytes, vector: list[float] | None) -> RowChange:
        table = self.ready(choose_target_table(list(self.tables.values()), insight.collection, self.layout))
        pk = next(each for each in get_candidate_ids(insight) if each not in self.by_id)
        used, told = insight.usage_count, insight.memory.updated_at
        held = ExistingRow(table, pk, text, used, insight.last_used_at, told, vector is not None)
        self.by_id[pk] = self.by_digest[text] = held
        return RowChange(
            table, build_reflection_row(insight, pk, self.conversations) | {"embedding": vector}, is_new=True
        )

    def ready(self, table: Table) -> Table:
        """The table as it is once an insight can be written to it, which is seen to in the same transaction."""
        there = self.tables.get(table.name)
        if there is None or get_missing_columns(there):
            table = with_missing_columns(table)
            self.pending_tables.append((table, there))
            self.tables[table.name] = table
            self.row_counts_before.setdefault(table.name, 0)
        return self.tables[table.name]

    def vectors(self, keys: Sequence[UUID]) -> dict[UUID, list[float]]:
        """Those that Session-Buddy could have made itself."""
        model = self.namespace.embedding_model or ""
        if SHARED_MODEL not in model.lower():
            return {}
        made = Embedding.objects.in_namespace(self.namespace.pk).of_model(model).filter(memory__in=keys)
        fresh = made.filter(content_hash=F("memory__content_hash")).values_list("memory_id", "vector")
        return {pk: numbers for pk, vector in fresh if (numbers := truncate_vector(vector))}

    def write(self, changes: Sequence[RowChange | None]) -> None:
        if self.dry_run:
            return
        with file_transaction(self.file):
            for table, there in self.pending_tables:
                create_or_alter_table(self.file, table, there)
            self.pending_tables = []
            for is_new, statement in ((True, build_insert_sql), (False, build_update_sql)):
                for table in self.tables.values():
                    rows = [each.row for each in changes if each and (each.is_new, each.table) == (is_new, table)]
                    if rows:
                        self.file.execute(statement(table), [to_json(rows).decode(), ROW_TYPES_JSON])

    def report(self) -> Iterator[dict[str, Any]]:
        for table, count in self.counts.items():
            yield {"table": table} | {name: count[name] for name in ("insights", "new", "updated", "known")}

    def describe_mismatch(self) -> str | None:
        """What does not agree: rows a table had, new ones and those it has now; insights and their rows."""
        for name, count in self.counts.items():
            rows, expected = (
                count_table_rows(self.file, [self.tables[name]]),
                self.row_counts_before[name] + count["new"],
            )
            there = self.file.execute(
                COUNT_EXISTING_IDS_SQL.format(quote_identifier(name)), [json.dumps(list(self.written_ids[name]))]
            ).fetchone()[0]
            if rows != expected:
                return f"{name} should have {expected:,} rows, it has {rows:,}."
            if there != len(self.written_ids[name]):
                return f"{name} should have {len(self.written_ids[name]):,} of the insights, it has {there:,}."
        return None


def read_existing_rows(file: DuckDBPyConnection, table: Table) -> Iterator[ExistingRow]:
    """The rows of a table of reflections that can be named."""
    if table.kind == REFLECTIONS:
        rows = (
            row for found in read_batches(file, table, EXISTING_ROW_COLUMNS) for row in found if row["id"] is not None
        )
        yield from (build_existing_row(table, row) for row in rows)


def build_existing_row(table: Table, row: RowValues) -> ExistingRow:
    text = digest(normalise_text(row["content"])) if row["content"] and is_insight_row(table, row) else None
    used, told = parse_datetime_or_none(row["last_used_at"]), parse_datetime_or_none(row["updated_at"])
    return ExistingRow(table, row["id"], text, row["usage_count"] or 0, used, told, bool(row["embedding"]))


def parse_datetime_or_none(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return parse_utc_datetime(text)


def fetch_conversation_ids(file: DuckDBPyConnection, found: Iterable[Table]) -> set[str]:
    names = [quote_identifier(table.name) for table in found if table.kind == CONVERSATIONS]
    return {pk for name in names for (pk,) in file.execute(f"SELECT id FROM {name}").fetchall()}


def build_insert_sql(table: Table) -> str:
    columns = [name for name in ROW_TYPES if name in table.columns]
    values = ", ".join(
        f"given.{name}::FLOAT[{VECTOR_DIMENSIONS}]" if name == "embedding" else f"given.{name}" for name in columns
    )
    return f"INSERT INTO {quote_identifier(table.name)} ({', '.join(map(quote_identifier, columns))}) SELECT {values} FROM {GIVEN_ROWS_SQL}"


def build_update_sql(table: Table) -> str:
    """What is not given stays; a vector goes with its text."""
    columns = [name for name in ("content", "updated_at", "usage_count", "last_used_at") if name in table.columns]
    changes = [f"{name} = coalesce(given.{name}, kept.{name})" for name in columns]
    if "embedding" in table.columns:
        vector = f"given.embedding::FLOAT[{VECTOR_DIMENSIONS}]"
        changes.append(
            f"embedding = CASE WHEN given.content IS NULL THEN coalesce(kept.embedding, {vector}) ELSE {vector} END"
        )
    return f"UPDATE {quote_identifier(table.name)} AS kept SET {', '.join(changes)} FROM {GIVEN_ROWS_SQL} WHERE kept.id = given.id"


@contextmanager
def file_transaction(file: DuckDBPyConnection) -> Iterator[None]:
    file.begin()
    try:
        yield
    except BaseException:
        file.rollback()
        raise
    file.commit()
