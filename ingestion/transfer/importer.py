"""Import of an export into a namespace, batch by batch, inside one transaction of the caller.

One generated statement inserts lines of any record type (`build_insert_sql`; tests/ingestion/transfer_statement.sql
shows it for messages). It measured 0.82 of the rate of a plain COPY."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from django.db import Error, connection, transaction
from django.db.models import JSONField
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ingestion.transfer.derived_columns import (
    NEVER_INSIGHT,
    derive_line_columns,
    fetch_insight_columns,
)
from ingestion.transfer.line_schemas import ExportHeader, build_line_schema
from ingestion.transfer.record_types import JSON_REFERENCES, RECORD_TYPES, RecordType
from memories import active_model
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.metrics.counters import count_stored
from sessions_app.commands import format_validation_error
from sessions_app.encryption import encrypt
from sessions_app.models import Namespace, SessionMemory

# Ids in the file (`old`) and of the rows in the namespace (`new`), and whether the import inserted the row.
CREATE_IDS_TABLE_SQL = """
CREATE TEMPORARY TABLE exchange_ids (
    kind text, old uuid, new uuid NOT NULL, is_new boolean NOT NULL, PRIMARY KEY (kind, old)
)
"""
# Identities of the rows that the namespace had before. The tables' own indexes are no substitute: for a namespace that
# is being filled the planner's statistics say that it has no rows, and it may choose any index.
CREATE_EXISTING_ROWS_TABLE_SQL = (
    "CREATE TEMPORARY TABLE exchange_existing (kind text, key bytea, id uuid, PRIMARY KEY (kind, key))"
)
INSERT_EXISTING_ROWS_SQL = """
INSERT INTO exchange_existing SELECT '{name}', identity, {key}
FROM (SELECT {key}, memories_sha256({identity}) AS identity FROM {table} WHERE namespace_id = %s) rows
WHERE identity IS NOT NULL
    AND NOT EXISTS (SELECT FROM exchange_ids WHERE kind = '{name}' AND new = rows.{key} AND is_new)
ON CONFLICT DO NOTHING
"""
CREATE_VECTORS_TABLE_SQL = "CREATE TEMPORARY TABLE exchange_vectors (memory uuid, model text, vector halfvec)"
# The ids of a file that rows of other namespaces have: the only question that is asked of all of them.
SELECT_TAKEN_IDS_SQL = "SELECT {key} FROM {table} WHERE {key} = ANY(%s) AND namespace_id <> %s"
# The statement is a chain of CTEs:
#   line      a JSON line with the defaults, the new ids of its references and the namespace; `missing` names a
#             reference to no earlier line; `spare_id` is the id for a row whose own id belongs to another namespace
#   record    the line as a row of the table
#   matched   records without a missing reference; `existing_id` is the row of the namespace with the same id, the same
#             spare id or the same identity, if there is one
#   noted     insert the mapping of ids
#   inserted  insert the rows that did not exist
# Result: (place of the line, missing column) of each line that was left out, then (NULL, number of inserted rows).
INSERT_LINES_SQL = """
WITH line AS (
    SELECT place, spare_id,
           {missing} AS missing,
           %(defaults)s::jsonb || value || jsonb_build_object({replaced}) AS row
    FROM ROWS FROM (jsonb_array_elements(%(lines)s::jsonb), unnest(%(spare_ids)s::uuid[]))
        WITH ORDINALITY AS lines(value, spare_id, place)
    {references}
),
record AS (
    SELECT place, spare_id, missing, memories_sha256({identity}) AS identity, record.*
    FROM line, jsonb_populate_record(NULL::{table}, line.row) AS record
),
matched AS (
    SELECT record.*,
           coalesce(same_id.{key}, same_spare_id.{key}, same_identity.id) AS existing_id,
           CASE WHEN record.{key} = ANY(%(taken_ids)s::uuid[]) THEN spare_id ELSE record.{key} END AS new_id
    FROM record
    LEFT JOIN {table} same_id ON same_id.namespace_id = %(namespace)s AND same_id.{key} = record.{key}
    LEFT JOIN {table} same_spare_id
        ON same_spare_id.namespace_id = %(namespace)s AND same_spare_id.{key} = record.spare_id
    LEFT JOIN exchange_existing same_identity ON same_identity.kind = %(kind)s AND same_identity.key = record.identity
    WHERE missing IS NULL
),
noted AS (
    INSERT INTO exchange_ids SELECT %(kind)s, {key}, coalesce(existing_id, new_id), existing_id IS NULL FROM matched
),
inserted AS (
    INSERT INTO {table} ({key}, namespace_id, {columns})
    SELECT new_id, namespace_id, {values}
    FROM matched WHERE existing_id IS NULL
    {on_conflict}RETURNING {key}
)
SELECT place, missing FROM record WHERE missing IS NOT NULL
UNION ALL SELECT NULL, count(*)::text FROM inserted
"""
# The columns that an embedding copies from its memory.
SHARED_COLUMNS = ", ".join(
    sorted(
        {str(field.column) for field in Embedding._meta.concrete_fields if field.column}
        & {str(field.column) for field in Memory._meta.concrete_fields} - {"created_at"}
    )
)
INSERT_VECTORS_SQL = f"""
WITH new_vector AS (
    SELECT memory.id AS memory_id, model, vector, {SHARED_COLUMNS}
    FROM exchange_vectors imported
    JOIN exchange_ids ids ON ids.kind = 'memory' AND ids.old = imported.memory AND ids.is_new
    JOIN {Memory._meta.db_table} memory ON memory.namespace_id = %(namespace)s AND memory.id = ids.new
        AND memory.state = 'active'
),
no_longer_due AS (
    DELETE FROM {DueEmbedding._meta.db_table} due USING new_vector
    WHERE due.namespace_id = %(namespace)s AND due.memory_id = new_vector.memory_id
)
INSERT INTO {Embedding._meta.db_table} (memory_id, model, vector, {SHARED_COLUMNS})
SELECT memory_id, model, vector, {SHARED_COLUMNS} FROM new_vector
"""
UPDATE_JSON_IDS_SQL = """
UPDATE {table} changed
SET {column} = jsonb_set({column}, ARRAY[%(key)s::text], ('"' || target.new::text || '"')::jsonb)
FROM exchange_ids imported, exchange_ids target
WHERE imported.kind = %(kind)s AND imported.is_new
    AND changed.namespace_id = %(namespace)s AND changed.id = imported.new
    AND target.kind = %(target)s AND target.new <> target.old AND target.old::text = changed.{column} ->> %(key)s
"""
# The memory that replaced one may be on a later line.
UPDATE_SUCCESSORS_SQL = f"""
UPDATE {Memory._meta.db_table} changed SET superseded_by = target.new
FROM exchange_ids imported, exchange_ids target
WHERE imported.kind = 'memory' AND imported.is_new
    AND changed.namespace_id = %(namespace)s AND changed.id = imported.new AND changed.superseded_by IS NOT NULL
    AND target.kind = 'memory' AND target.old = changed.superseded_by AND target.new NOT IN (target.old, imported.new)
"""
#: Classes of SQLSTATE that a row can cause: data exception, integrity constraint violation, program limit exceeded,
#: and an exception raised by a trigger.
ROW_ERROR_CLASSES = ("22", "23", "54", "P0")
CHECK_VIOLATION = "23514"
# An older file may contain one text twice: it was written when other rules decided which texts are duplicates.
SKIP_DUPLICATE_INSIGHTS_SQL = "ON CONFLICT (namespace_id, digest) DO NOTHING "
NOT_AN_INSIGHT = "memory_id refers to a memory that is no insight"
ModelT = TypeVar("ModelT", bound=BaseModel)


class TruncatedExport(Exception):
    """The file has fewer or more lines than its header says; the message gives the numbers."""


class ModelChangedDuringImport(Exception):
    """The namespace's model changed during the import, so the imported vectors are of the previous one."""


@dataclass(slots=True)
class ParsedLine:
    """A valid line with its original text: PostgreSQL parses the text itself, so that no number is rounded."""

    number: int
    kind: str
    id: UUID
    columns: frozenset[str]
    text: str
    #: Model names and vectors, each vector as halfvec_recv reads it.
    vectors: list[tuple[str, bytes]]


class NamespaceImport:
    """The import of one file into one namespace. Create, use and finish it inside one transaction."""

    def __init__(self, namespace_id: int, header: ExportHeader) -> None:
        self.namespace_id, self.expected = namespace_id, Counter(header.counts)
        self.seen: Counter[str] = Counter()
        self.new: Counter[str] = Counter()
        self.model, self.has_vectors = find_active_model(namespace_id), False
        self.other_models: set[str] = set()
        with connection.cursor() as cursor:
            for table in (CREATE_IDS_TABLE_SQL, CREATE_EXISTING_ROWS_TABLE_SQL, CREATE_VECTORS_TABLE_SQL):
                cursor.execute(table)
        for kind in RECORD_TYPES.values():
            self.note_existing_rows(kind)

    def insert(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        """Insert the rows that do not exist yet.

        Return (line number, reason) of each wrong line; if there is one, the caller must roll back.
        """
        for _, similar_lines in groupby(lines, key=lambda line: (line.kind, line.columns)):
            group = list(similar_lines)
            errors: list[tuple[int, str]] = []
            self.seen[group[0].kind] += len(group)
            if group[0].kind == "insight":
                group, errors = add_insight_columns(self.namespace_id, group)
            if errors := sorted(errors + (self.insert_or_report(group) if group else [])):
                return errors  # later lines may refer to a wrong one
        return []

    def note_existing_rows(self, kind: RecordType) -> int:
        """Note the rows that the namespace has, but for those of this import. Return how many were not noted before."""
        with connection.cursor() as cursor:
            cursor.execute(INSERT_EXISTING_ROWS_SQL.format(**build_sql_names(kind)), [self.namespace_id])
            return cursor.rowcount

    def insert_or_report(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        try:
            return self.insert_group(lines)
        except Error as error:
            reason = describe_error(error)
            is_duplicate = isinstance(error.__cause__, UniqueViolation)
        if is_duplicate and self.note_existing_rows(RECORD_TYPES[lines[0].kind]):  # stored since the import began
            return self.insert_or_report(lines)
        if len(lines) == 1:
            return [(lines[0].number, reason)]
        return [error for line in lines for error in self.insert_or_report([line])]  # to find the wrong ones

    def insert_group(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        """Insert lines of one kind with the same columns in one statement. Raises django.db.Error."""
        kind = RECORD_TYPES[lines[0].kind]
        columns, defaults = select_columns(kind, lines[0].columns)
        parameters: dict[str, Any] = {
            "namespace": self.namespace_id,
            "kind": kind.name,
            "defaults": defaults,
            "lines": f"[{','.join(line.text for line in lines)}]",
            "spare_ids": [derive_copy_id(line.id, self.namespace_id) for line in lines],
        }
        with transaction.atomic(), connection.cursor() as cursor:
            parameters["taken_ids"] = self.fetch_taken_ids(cursor, kind, lines)
            cursor.execute(build_insert_sql(kind, columns), parameters)
            *missing, (_, inserted) = cursor.fetchall()
            self.insert_vectors(cursor, lines)
        self.new[kind.name] += int(inserted)
        return [(lines[place - 1].number, describe_missing_reference(kind, column)) for place, column in missing]

    def fetch_taken_ids(self, cursor: Any, kind: RecordType, lines: Sequence[ParsedLine]) -> list[UUID]:
        """Return the lines' ids that rows of other namespaces have: an id names one row, whatever its namespace."""
        sql = SELECT_TAKEN_IDS_SQL.format(**build_sql_names(kind))
        cursor.execute(sql, [[line.id for line in lines], self.namespace_id])
        return [pk for (pk,) in cursor.fetchall()]

    def insert_vectors(self, cursor: Any, lines: Sequence[ParsedLine]) -> None:
        """Insert the vectors of new memories, and take these off the embedding queue.

        Vectors of other models than the namespace's are left out: no search would use them.
        """
        self.other_models |= {model for line in lines for model, _ in line.vectors} - {self.model}
        rows = [(line.id, *each) for line in lines for each in line.vectors if each[0] == self.model]
        if not rows:
            return
        self.has_vectors = True
        with cursor.copy("COPY exchange_vectors FROM STDIN (FORMAT BINARY)") as into:
            into.set_types(["uuid", "text", "bytea"])
            for row in rows:
                into.write_row(row)
        cursor.execute(INSERT_VECTORS_SQL, {"namespace": self.namespace_id})
        cursor.execute("TRUNCATE exchange_vectors")

    def finish(self) -> None:
        """Update changed ids in JSON columns and of successors. Raises TruncatedExport or ModelChangedDuringImport."""
        if self.seen != self.expected:
            differences = [
                f"{self.expected[kind]:,} lines of the kind {kind}, it has {self.seen[kind]:,}"
                for kind in RECORD_TYPES
                if self.seen[kind] != self.expected[kind]
            ]
            raise TruncatedExport(f"The file is incomplete. Its header announces {'; '.join(differences)}.")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE exchange_ids")
            for kind, column, key, target in JSON_REFERENCES:
                sql = UPDATE_JSON_IDS_SQL.format(table=RECORD_TYPES[kind].table, column=column)
                cursor.execute(sql, {"namespace": self.namespace_id, "key": key, "kind": kind, "target": target})
            cursor.execute(UPDATE_SUCCESSORS_SQL, {"namespace": self.namespace_id})
            cursor.execute("DROP TABLE exchange_ids, exchange_existing, exchange_vectors")
        if self.model is not None and self.has_vectors:
            self.confirm_model(self.model)
        count_stored(self.new["memory"], self.seen["memory"] - self.new["memory"])

    def confirm_model(self, model: str) -> None:
        """Set or check the namespace's model. Raises ModelChangedDuringImport.

        Must be the last step: workers that embed for the namespace wait for the locked row until the transaction ends.
        """
        active_model.set_initial_model([self.namespace_id], model)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT embedding_model FROM sessions_app_namespace WHERE id = %s FOR SHARE", [self.namespace_id]
            )
            if cursor.fetchone() != (model,):
                raise ModelChangedDuringImport("The namespace's model has changed meanwhile; run the import again.")


def purge_expired_rows(namespace_id: int) -> None:
    """Delete expired memories and sessions, which would conflict with imported ones.

    If possible outside the import's transaction: others that delete or add the same rows would wait for its end.
    """
    Memory.objects.filter(namespace_id=namespace_id).expired().delete()
    SessionMemory.objects.filter(namespace_id=namespace_id).outdated().delete()


def find_active_model(namespace_id: int) -> str | None:
    """Return the namespace's model, else the configured one, or None when that embedder is unavailable.

    A file never decides it, because the texts of a namespace are sent to its model.
    """
    if decided := Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id):
        return decided
    with suppress(EmbedderUnavailable):
        return get_embedder().model
    return None


def describe_missing_reference(kind: RecordType, column: str) -> str:
    return f"{column} refers to a {kind.references[column]} that is not on an earlier line"


def describe_error(error: Error) -> str:
    """Return the reason why PostgreSQL rejected a row. Re-raises an error that the row did not cause."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error) or not (cause.sqlstate or "").startswith(ROW_ERROR_CLASSES):
        raise error
    constraint = cause.diag.constraint_name
    if constraint == "exchange_ids_pkey":
        return "its id is on an earlier line too"
    if cause.sqlstate == CHECK_VIOLATION and constraint:  # these constraints are named by sentences
        return f"this does not hold: {constraint.replace('_', ' ')}"
    return cause.diag.message_primary or str(cause)


@cache
def build_insert_sql(kind: RecordType, columns: tuple[str, ...]) -> str:
    """Return INSERT_LINES_SQL for lines of this kind that have these columns."""
    join = "LEFT JOIN exchange_ids {0} ON {0}.kind = '{1}' AND {0}.old = (value ->> '{0}')::uuid"
    missing = [f"WHEN value ->> '{name}' IS NOT NULL AND {name}.new IS NULL THEN '{name}'" for name in kind.references]
    missing_sql = "\n                ".join(missing)
    # jsonb_populate_record turns JSON null into SQL NULL, which these columns do not accept.
    required_json = {field.column for field in kind.fields if isinstance(field, JSONField) and not field.null}
    replaced = {"namespace_id": "%(namespace)s::bigint"} | {name: f"{name}.new" for name in kind.references}
    return INSERT_LINES_SQL.format(
        **build_sql_names(kind),
        columns=", ".join(f'"{name}"' for name in columns),
        values=", ".join(f"coalesce(\"{name}\", 'null')" if name in required_json else f'"{name}"' for name in columns),
        references="\n    ".join(join.format(*reference) for reference in kind.references.items()),
        missing=f"CASE {missing_sql} END" if missing else "NULL",
        on_conflict=SKIP_DUPLICATE_INSIGHTS_SQL if kind.name == "insight" else "",
        replaced=", ".join(f"'{name}', {value}" for name, value in (replaced | dict(kind.computed)).items()),
    )


def build_sql_names(kind: RecordType) -> dict[str, str]:
    return {"name": kind.name, "identity": kind.identity, "table": kind.table, "key": kind.key}


def select_columns(kind: RecordType, given: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """Return the columns to insert, and the missing ones with a Django default as JSON; PostgreSQL has its own."""
    others = [field for field in kind.fields if field.column not in given and field.has_default()]
    defaults = {field.column: field.get_default() for field in others}
    columns = [
        name for name in (*kind.columns, *kind.derived) if name != kind.key and (name in given or name in defaults)
    ]
    return tuple(columns), to_json(defaults).decode()


def derive_copy_id(id: UUID, namespace_id: int) -> UUID:
    """Return the id for a row whose own id belongs to another namespace.

    It is a UUIDv7 with the same timestamp, and always the same for the same id and namespace.
    """
    digest = hashlib.sha256(id.bytes + namespace_id.to_bytes(8)).digest()
    variant_and_rest = 1 << 63 | int.from_bytes(digest[:8]) >> 2
    return UUID(int=id.int >> 64 << 64 | variant_and_rest)


def add_insight_columns(
    namespace_id: int, lines: Sequence[ParsedLine]
) -> tuple[list[ParsedLine], list[tuple[int, str]]]:
    """Add the computed columns to insights. Return the lines, and (line number, reason) of the wrong ones.

    A line whose memory existed and is no longer an insight is left out.
    """
    columns = fetch_insight_columns(namespace_id, [line.id for line in lines])
    kept = [
        replace(line, text=merge_columns(line.text, own))
        for line in lines
        if isinstance(own := columns.get(line.id, {}), dict)  # a line without a memory is reported by the INSERT
    ]
    return kept, [(line.number, NOT_AN_INSIGHT) for line in lines if columns.get(line.id) == NEVER_INSIGHT]


def merge_columns(text: str, columns: dict[str, Any]) -> str:
    """Return the line's JSON with these columns. They win, because jsonb keeps the last of duplicate keys."""
    return f"{text.rstrip()[:-1]},{json.dumps(columns)[1:]}" if columns else text


def parse_line(number: int, given: Any, text: str) -> ParsedLine:
    """Validate a line. Raises ValueError with a readable message."""
    kind = given.get("kind") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in RECORD_TYPES:
        raise ValueError(f"kind: must be one of {', '.join(RECORD_TYPES)}")
    record_type = RECORD_TYPES[kind]
    line: Any = validate_model(build_line_schema(kind), given)
    if kind == "session":
        history = [encrypt(interaction.model_dump()) for interaction in line.history]
        text = json.dumps(given | {"history": history})
    vectors = [(each.model, each.vector) for each in getattr(line, "vectors", [])]
    given_names = line.model_fields_set - {"kind", "vectors"}
    renamed = {column: name for column, name in record_type.file_names.items() if name in given_names}
    own_values = {column: getattr(line, name) for column, name in renamed.items()} | derive_line_columns(kind, line)
    columns = given_names - {*renamed.values()} | {*renamed, *record_type.derived}
    row_id = getattr(line, record_type.key)
    return ParsedLine(number, kind, row_id, frozenset(columns), merge_columns(text, own_values), vectors)


def validate_model(model: type[ModelT], given: Any) -> ModelT:
    """Validate a parsed line. Raises ValueError with a readable message."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
