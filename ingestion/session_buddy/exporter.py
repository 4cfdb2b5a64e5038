"""Export of a namespace's insights into a Session-Buddy file, each one once; other rows of the file are not touched."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from duckdb import DuckDBPyConnection
from pydantic_core import to_json

from ingestion.session_buddy.export_rows import (
    build_reflection_row,
    get_candidate_ids,
    truncate_vector,
)
from ingestion.session_buddy.importer import (
    TEXT_COLUMN_SQL,
    RowValues,
    count_table_rows,
    fetch_count,
    is_insight_row,
    read_batches,
)
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
from ingestion.session_buddy.times import format_local_datetime, parse_local_datetime
from memories.insights.minhash import digest, normalise_text
from memories.insights.models import Insight, InsightCollection
from memories.models import Embedding
from sessions_app.models import Namespace

EXPORT_BATCH_SIZE = 500
#: The model of Session-Buddy: vectors of other models are not comparable with the file's.
SHARED_MODEL = "all-minilm-l6-v2"
#: The type of a row in the JSON parameter of the statements, for DuckDB's from_json.
ROW_TYPES = {
    "id": "VARCHAR", "conversation_id": "VARCHAR", "content": "VARCHAR", "tags": ["VARCHAR"], "metadata": "VARCHAR",
    "created_at": "TIMESTAMP", "updated_at": "TIMESTAMP", "timestamp": "TIMESTAMP", "project": "VARCHAR",
    "category": "VARCHAR", "insight_type": "VARCHAR", "usage_count": "INTEGER", "last_used_at": "TIMESTAMP",
    "confidence_score": "REAL", "embedding": ["FLOAT"],
}  # fmt: skip
ROW_TYPES_JSON = json.dumps([ROW_TYPES])
#: Further columns of existing rows, in addition to those of the import.
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
    """A row to write: all columns of a new row, or the changed ones of an existing row."""

    table: Table
    row: dict[str, Any]
    is_new: bool


@dataclass(slots=True)
class ExistingRow:
    """What the export needs to know of a row in the file."""

    table: Table
    id: str
    #: Digest of its normalised text; None if the row is no insight.
    digest: bytes | None
    usage_count: int
    last_used_at: datetime | None
    updated_at: datetime | None
    has_vector: bool


class SessionBuddyExport:
    """The export of a namespace's insights into one file. A dry run only counts.

    The file has times of `timezone`, without an offset.
    """

    def __init__(
        self,
        namespace: Namespace,
        file: DuckDBPyConnection,
        layout: Layout,
        *,
        timezone: tzinfo = UTC,
        dry_run: bool,
    ) -> None:
        self.namespace, self.file, self.layout, self.dry_run = namespace, file, layout, dry_run
        self.timezone = timezone
        self.tables = {table.name: table for table in find_tables(file)}
        self.row_counts_before = {table.name: count_table_rows(file, [table]) for table in self.tables.values()}
        existing = [row for table in self.tables.values() for row in read_existing_rows(file, table, timezone)]
        self.by_id = {row.id: row for row in existing}
        self.by_digest = {row.digest: row for row in reversed(existing) if row.digest}
        self.conversations = fetch_conversation_ids(file, self.tables.values())
        self.own_digests = {bytes(each) for each in self.get_insights().values_list("digest", flat=True)}
        self.pending_tables: list[tuple[Table, Table | None]] = []
        self.counts: dict[str, Counter[str]] = {}
        self.written_ids: dict[str, set[str]] = {}

    def get_insights(self) -> QuerySet[Insight]:
        return Insight.objects.in_namespace(self.namespace.pk)

    def run(self) -> Iterator[None]:
        """Export the insights, yielding once for each one. Each batch is a transaction of the file."""
        rows = self.get_insights().select_related("memory").defer("bands", "memory__search_vector").order_by("pk")
        batch = list(rows[:EXPORT_BATCH_SIZE])
        while batch:
            vectors = self.fetch_vectors([insight.pk for insight in batch])
            self.write_changes([self.plan_change(insight, vectors.get(insight.pk)) for insight in batch])
            yield from [None] * len(batch)
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:EXPORT_BATCH_SIZE])

    def plan_change(self, insight: Insight, vector: list[float] | None) -> RowChange | None:
        """Return the change that brings an insight into the file, or None if its row is up to date. Count it."""
        text = digest(normalise_text(insight.memory.content))
        existing = self.by_digest.get(text) or self.find_former_row(insight)
        if existing:
            change = self.plan_update(insight, existing, text, vector)
        else:
            change = self.plan_insert(insight, text, vector)
        row = existing or self.by_digest[text]
        count = self.counts.setdefault(row.table.name, Counter())
        count["insights"] += 1
        count["known" if change is None else "new" if change.is_new else "updated"] += 1
        self.written_ids.setdefault(row.table.name, set()).add(row.id)
        return change

    def find_former_row(self, insight: Insight) -> ExistingRow | None:
        """Return the row that had the insight before one of the texts changed, unless another insight has it now."""
        candidates = [self.by_id.get(each) for each in get_candidate_ids(insight)[:2]]
        rows = (row for row in candidates if row and row.digest and row.digest not in self.own_digests)
        return next(rows, None)

    def plan_update(
        self, insight: Insight, existing: ExistingRow, text: bytes, vector: list[float] | None
    ) -> RowChange | None:
        """Merge both sides: the greater use count, the later use and text, and a vector where the row has none."""
        row: dict[str, Any] = {}
        memory = insight.memory
        if text != existing.digest and (existing.updated_at is None or existing.updated_at < memory.updated_at):
            row = {"content": memory.content, "updated_at": self.format_time(memory.updated_at), "embedding": vector}
            self.by_digest[text], existing.digest, existing.has_vector = existing, text, vector is not None
        if insight.usage_count > existing.usage_count:
            row["usage_count"] = existing.usage_count = insight.usage_count
        if insight.last_used_at and (existing.last_used_at is None or insight.last_used_at > existing.last_used_at):
            row["last_used_at"] = self.format_time(insight.last_used_at)
            existing.last_used_at = insight.last_used_at
        if vector and not existing.has_vector and text == existing.digest:
            row["embedding"], existing.has_vector = vector, True
        return RowChange(self.prepare_table(existing.table), row | {"id": existing.id}, is_new=False) if row else None

    def plan_insert(self, insight: Insight, text: bytes, vector: list[float] | None) -> RowChange:
        collection = InsightCollection(insight.collection)
        table = self.prepare_table(choose_target_table(list(self.tables.values()), collection, self.layout))
        pk = next(each for each in get_candidate_ids(insight) if each not in self.by_id)
        uses, updated_at = insight.usage_count, insight.memory.updated_at
        row = ExistingRow(table, pk, text, uses, insight.last_used_at, updated_at, vector is not None)
        self.by_id[pk] = self.by_digest[text] = row
        values = build_reflection_row(insight, pk, self.conversations, self.timezone) | {"embedding": vector}
        return RowChange(table, values, is_new=True)

    def format_time(self, when: datetime) -> str | None:
        return format_local_datetime(when, self.timezone)

    def prepare_table(self, table: Table) -> Table:
        """Return the table with all columns of an insight; `write_changes` creates or alters it in its transaction."""
        existing = self.tables.get(table.name)
        if existing is None or get_missing_columns(existing):
            table = with_missing_columns(table)
            self.pending_tables.append((table, existing))
            self.tables[table.name] = table
            self.row_counts_before.setdefault(table.name, 0)
        return self.tables[table.name]

    def fetch_vectors(self, ids: Sequence[UUID]) -> dict[UUID, list[float]]:
        """Return the current vectors by memory id, if the namespace's model is the one of Session-Buddy."""
        model = self.namespace.embedding_model or ""
        if SHARED_MODEL not in model.lower():
            return {}
        embeddings = Embedding.objects.in_namespace(self.namespace.pk).of_model(model).filter(memory__in=ids)
        current = embeddings.filter(content_hash=F("memory__content_hash")).values_list("memory_id", "vector")
        return {pk: numbers for pk, vector in current if (numbers := truncate_vector(vector))}

    def write_changes(self, changes: Sequence[RowChange | None]) -> None:
        if self.dry_run:
            return
        with file_transaction(self.file):
            for table, existing in self.pending_tables:
                create_or_alter_table(self.file, table, existing)
            self.pending_tables = []
            for is_new, build_sql in ((True, build_insert_sql), (False, build_update_sql)):
                for table in self.tables.values():
                    rows = [each.row for each in changes if each and (each.is_new, each.table) == (is_new, table)]
                    if rows:
                        self.file.execute(build_sql(table), [to_json(rows).decode(), ROW_TYPES_JSON])

    def report(self) -> Iterator[dict[str, Any]]:
        for table, count in self.counts.items():
            yield {"table": table} | {name: count[name] for name in ("insights", "new", "updated", "known")}

    def describe_mismatch(self) -> str | None:
        """Compare the counts: a table's rows before, new and now, and the insights that have a row.

        Return a sentence about the first difference, or None.
        """
        for name, count in self.counts.items():
            rows, expected = (
                count_table_rows(self.file, [self.tables[name]]),
                self.row_counts_before[name] + count["new"],
            )
            sql = COUNT_EXISTING_IDS_SQL.format(quote_identifier(name))
            found = fetch_count(self.file, sql, [json.dumps(list(self.written_ids[name]))])
            if rows != expected:
                return f"{name} should have {expected:,} rows, it has {rows:,}."
            if found != len(self.written_ids[name]):
                return f"{name} should have {len(self.written_ids[name]):,} of the insights, it has {found:,}."
        return None


def read_existing_rows(file: DuckDBPyConnection, table: Table, zone: tzinfo) -> Iterator[ExistingRow]:
    """Yield the rows of a table of reflections that have an id."""
    if table.kind == REFLECTIONS:
        rows = (row for batch in read_batches(file, table, EXISTING_ROW_COLUMNS) for row in batch)
        yield from (build_existing_row(table, row, zone) for row in rows if row["id"] is not None)


def build_existing_row(table: Table, row: RowValues, zone: tzinfo) -> ExistingRow:
    text = digest(normalise_text(row["content"])) if row["content"] and is_insight_row(table, row) else None
    last_used_at, updated_at = (parse_datetime_or_none(row[name], zone) for name in ("last_used_at", "updated_at"))
    uses, has_vector = row["usage_count"] or 0, bool(row["embedding"])
    return ExistingRow(table, row["id"], text, uses, last_used_at, updated_at, has_vector)


def parse_datetime_or_none(text: str | None, zone: tzinfo) -> datetime | None:
    try:
        return parse_local_datetime(text, zone)
    except ValueError:
        return None


def fetch_conversation_ids(file: DuckDBPyConnection, found: Iterable[Table]) -> set[str]:
    names = [quote_identifier(table.name) for table in found if table.kind == CONVERSATIONS]
    return {pk for name in names for (pk,) in file.execute(f"SELECT id FROM {name}").fetchall()}


def build_insert_sql(table: Table) -> str:
    columns = [name for name in ROW_TYPES if name in table.columns]
    values = ", ".join(
        f"given.{name}::FLOAT[{VECTOR_DIMENSIONS}]" if name == "embedding" else f"given.{name}" for name in columns
    )
    names = ", ".join(map(quote_identifier, columns))
    return f"INSERT INTO {quote_identifier(table.name)} ({names}) SELECT {values} FROM {GIVEN_ROWS_SQL}"


def build_update_sql(table: Table) -> str:
    """Build the UPDATE of rows by id. Missing values keep the old ones; a new text replaces or clears the vector."""
    columns = [name for name in ("content", "updated_at", "usage_count", "last_used_at") if name in table.columns]
    changes = [f"{name} = coalesce(given.{name}, existing.{name})" for name in columns]
    if "embedding" in table.columns:
        vector = f"given.embedding::FLOAT[{VECTOR_DIMENSIONS}]"
        changes.append(
            f"embedding = CASE WHEN given.content IS NULL THEN coalesce(existing.embedding, {vector}) ELSE {vector} END"
        )
    name, assignments = quote_identifier(table.name), ", ".join(changes)
    return f"UPDATE {name} AS existing SET {assignments} FROM {GIVEN_ROWS_SQL} WHERE existing.id = given.id"


@contextmanager
def file_transaction(file: DuckDBPyConnection) -> Iterator[None]:
    file.begin()
    try:
        yield
    except BaseException:
        file.rollback()
        raise
    file.commit()
