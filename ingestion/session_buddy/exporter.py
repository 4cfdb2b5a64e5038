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

from ingestion.session_buddy.export_rows import ids_of, narrow, plain, row_of
from ingestion.session_buddy.importer import TEXT, Values, batches, is_insight, size
from ingestion.session_buddy.records import moment
from ingestion.session_buddy.schema import (
    CONVERSATIONS,
    REFLECTIONS,
    WIDTH,
    Layout,
    Table,
    completed,
    lacking,
    make,
    quoted,
    table_for,
    tables,
)
from memories.insights.minhash import digest, normalised
from memories.insights.models import Insight
from memories.models import Embedding, Memory
from sessions_app.models import Namespace

BATCH = 500
#: Session-Buddy embeds with it: only its vectors may meet the ones in the file.
SHARED_MODEL = "all-minilm-l6-v2"
#: A row as DuckDB takes it out of one JSON parameter.
ROW = {
    "id": "VARCHAR", "conversation_id": "VARCHAR", "content": "VARCHAR", "tags": ["VARCHAR"], "metadata": "VARCHAR",
    "created_at": "TIMESTAMP", "updated_at": "TIMESTAMP", "timestamp": "TIMESTAMP", "project": "VARCHAR",
    "category": "VARCHAR", "insight_type": "VARCHAR", "usage_count": "INTEGER", "last_used_at": "TIMESTAMP",
    "confidence_score": "REAL", "embedding": ["FLOAT"],
}  # fmt: skip
SHAPE = json.dumps([ROW])
#: Of a row in the file, besides what an import reads.
KNOWN = {
    "updated_at": TEXT.format("updated_at"),
    "usage_count": "TRY_CAST(usage_count AS BIGINT)",
    "embedding": "embedding IS NOT NULL",
}
GIVEN = "(SELECT unnest(from_json(?::JSON, ?), max_depth := 2)) given"
THERE = """SELECT count(DISTINCT id) FROM {} WHERE id IN (SELECT unnest(from_json(?::JSON, '["VARCHAR"]')))"""


@dataclass(frozen=True, slots=True)
class Change:
    """A row to be written: all of a new one, of another what is different."""

    table: Table
    row: dict[str, Any]
    is_new: bool


@dataclass(slots=True)
class Held:
    """A row of the file, as far as we must know it."""

    table: Table
    id: str
    #: Of its text where it is an insight.
    digest: bytes | None
    usage_count: int
    last_used_at: datetime | None
    updated_at: datetime | None
    embedded: bool


class Export:
    """One writing of a namespace's insights. In a dry run nothing is written, but all is counted."""

    def __init__(self, namespace: Namespace, file: DuckDBPyConnection, layout: Layout, *, dry_run: bool) -> None:
        self.namespace, self.file, self.layout, self.dry_run = namespace, file, layout, dry_run
        self.tables = {table.name: table for table in tables(file)}
        self.before = {table.name: size(file, [table]) for table in self.tables.values()}
        there = [each for table in self.tables.values() for each in held_in(file, table)]
        self.by_id = {each.id: each for each in there}
        self.by_digest = {each.digest: each for each in reversed(there) if each.digest}
        self.conversations = conversations_in(file, self.tables.values())
        self.ours = {bytes(each) for each in self.insights().values_list("digest", flat=True)}
        self.unmade: list[tuple[Table, Table | None]] = []
        self.counts: dict[str, Counter] = {}
        self.placed: dict[str, set[str]] = {}

    def insights(self) -> QuerySet:
        return Insight.objects.filter(memory__in=Memory.objects.in_namespace(self.namespace.pk))

    def run(self) -> Iterator[None]:
        """One for each insight that is done with. Each batch is a transaction of the file."""
        rows = self.insights().select_related("memory").defer("bands", "memory__search_vector").order_by("pk")
        batch = list(rows[:BATCH])
        while batch:
            vectors = self.vectors([insight.pk for insight in batch])
            self.write([self.put(insight, vectors.get(insight.pk)) for insight in batch])
            yield from [None] * len(batch)
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH])

    def put(self, insight: Insight, vector: list[float] | None) -> Change | None:
        """What is to be written of an insight, nothing where the file says it all; and note where it stands."""
        text = digest(normalised(insight.memory.content))
        held = self.by_digest.get(text) or self.told_otherwise(insight)
        change = self.changes(insight, held, text, vector) if held else self.new(insight, text, vector)
        held = held or self.by_digest[text]
        count = self.counts.setdefault(held.table.name, Counter())
        count["insights"] += 1
        count["known" if change is None else "new" if change.is_new else "updated"] += 1
        self.placed.setdefault(held.table.name, set()).add(held.id)
        return change

    def told_otherwise(self, insight: Insight) -> Held | None:
        """The row that was its own before one of the two texts was changed, unless that is another insight's now."""
        found = [self.by_id.get(each) for each in ids_of(insight)[:2]]
        return next((held for held in found if held and held.digest and held.digest not in self.ours), None)

    def changes(self, insight: Insight, held: Held, text: bytes, vector: list[float] | None) -> Change | None:
        """What both sides know better together: the greater use, the later text, a vector where there is none."""
        row: dict[str, Any] = {}
        memory = insight.memory
        if text != held.digest and (held.updated_at is None or held.updated_at < memory.updated_at):
            row = {"content": memory.content, "updated_at": plain(memory.updated_at), "embedding": vector}
            self.by_digest[text], held.digest, held.embedded = held, text, vector is not None
        if insight.usage_count > held.usage_count:
            row["usage_count"] = held.usage_count = insight.usage_count
        if insight.last_used_at and (held.last_used_at is None or insight.last_used_at > held.last_used_at):
            row["last_used_at"], held.last_used_at = plain(insight.last_used_at), insight.last_used_at
        if vector and not held.embedded and text == held.digest:
            row["embedding"], held.embedded = vector, True
        return Change(self.ready(held.table), row | {"id": held.id}, is_new=False) if row else None

    def new(self, insight: Insight, text: bytes, vector: list[float] | None) -> Change:
        table = self.ready(table_for(list(self.tables.values()), insight.collection, self.layout))
        pk = next(each for each in ids_of(insight) if each not in self.by_id)
        used, told = insight.usage_count, insight.memory.updated_at
        held = Held(table, pk, text, used, insight.last_used_at, told, vector is not None)
        self.by_id[pk] = self.by_digest[text] = held
        return Change(table, row_of(insight, pk, self.conversations) | {"embedding": vector}, is_new=True)

    def ready(self, table: Table) -> Table:
        """The table as it is once an insight can be written to it, which is seen to in the same transaction."""
        there = self.tables.get(table.name)
        if there is None or lacking(there):
            table = completed(table)
            self.unmade.append((table, there))
            self.tables[table.name] = table
            self.before.setdefault(table.name, 0)
        return self.tables[table.name]

    def vectors(self, keys: Sequence[UUID]) -> dict[UUID, list[float]]:
        """Those that Session-Buddy could have made itself."""
        model = self.namespace.embedding_model or ""
        if SHARED_MODEL not in model.lower():
            return {}
        made = Embedding.objects.in_namespace(self.namespace.pk).of_model(model).filter(memory__in=keys)
        fresh = made.filter(content_hash=F("memory__content_hash")).values_list("memory_id", "vector")
        return {pk: numbers for pk, vector in fresh if (numbers := narrow(vector))}

    def write(self, changes: Sequence[Change | None]) -> None:
        if self.dry_run:
            return
        with transaction(self.file):
            for table, there in self.unmade:
                make(self.file, table, there)
            self.unmade = []
            for is_new, statement in ((True, insert), (False, update)):
                for table in self.tables.values():
                    rows = [each.row for each in changes if each and (each.is_new, each.table) == (is_new, table)]
                    if rows:
                        self.file.execute(statement(table), [to_json(rows).decode(), SHAPE])

    def report(self) -> Iterator[dict[str, Any]]:
        for table, count in self.counts.items():
            yield {"table": table} | {name: count[name] for name in ("insights", "new", "updated", "known")}

    def disagreement(self) -> str | None:
        """What does not agree: rows a table had, new ones and those it has now; insights and their rows."""
        for name, count in self.counts.items():
            rows, expected = size(self.file, [self.tables[name]]), self.before[name] + count["new"]
            there = self.file.execute(THERE.format(quoted(name)), [json.dumps(list(self.placed[name]))]).fetchone()[0]
            if rows != expected:
                return f"{name} should have {expected:,} rows, it has {rows:,}."
            if there != len(self.placed[name]):
                return f"{name} should have {len(self.placed[name]):,} of the insights, it has {there:,}."
        return None


def held_in(file: DuckDBPyConnection, table: Table) -> Iterator[Held]:
    """The rows of a table of reflections that can be named."""
    if table.kind == REFLECTIONS:
        rows = (row for found in batches(file, table, KNOWN) for row in found if row["id"] is not None)
        yield from (held(table, row) for row in rows)


def held(table: Table, row: Values) -> Held:
    text = digest(normalised(row["content"])) if row["content"] and is_insight(table, row) else None
    used, told = time_in(row["last_used_at"]), time_in(row["updated_at"])
    return Held(table, row["id"], text, row["usage_count"] or 0, used, told, bool(row["embedding"]))


def time_in(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return moment(text)


def conversations_in(file: DuckDBPyConnection, found: Iterable[Table]) -> set[str]:
    names = [quoted(table.name) for table in found if table.kind == CONVERSATIONS]
    return {pk for name in names for (pk,) in file.execute(f"SELECT id FROM {name}").fetchall()}


def insert(table: Table) -> str:
    columns = [name for name in ROW if name in table.columns]
    values = ", ".join(f"given.{name}::FLOAT[{WIDTH}]" if name == "embedding" else f"given.{name}" for name in columns)
    return f"INSERT INTO {quoted(table.name)} ({', '.join(map(quoted, columns))}) SELECT {values} FROM {GIVEN}"


def update(table: Table) -> str:
    """What is not given stays; a vector goes with its text."""
    columns = [name for name in ("content", "updated_at", "usage_count", "last_used_at") if name in table.columns]
    changes = [f"{name} = coalesce(given.{name}, kept.{name})" for name in columns]
    if "embedding" in table.columns:
        vector = f"given.embedding::FLOAT[{WIDTH}]"
        changes.append(
            f"embedding = CASE WHEN given.content IS NULL THEN coalesce(kept.embedding, {vector}) ELSE {vector} END"
        )
    return f"UPDATE {quoted(table.name)} AS kept SET {', '.join(changes)} FROM {GIVEN} WHERE kept.id = given.id"


@contextmanager
def transaction(file: DuckDBPyConnection) -> Iterator[None]:
    file.begin()
    try:
        yield
    except BaseException:
        file.rollback()
        raise
    file.commit()
