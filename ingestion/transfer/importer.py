"""Reading an export into a namespace: batch by batch, in one transaction of the caller's."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import Error, connection, transaction
from django.db.models import JSONField
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ingestion.transfer.derived_columns import (
    NEVER_INSIGHT,
    NO_LONGER_INSIGHT,
    derive_line_columns,
    fetch_insight_columns,
)
from ingestion.transfer.line_schemas import ExportHeader, build_line_schema
from ingestion.transfer.record_types import METADATA_REFERENCES, RECORD_TYPES, RecordType
from memories import active_model
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import DueEmbedding, Embedding, Memory
from sessions_app.commands import format_validation_error
from sessions_app.encryption import encrypt
from sessions_app.models import Namespace, SessionMemory

# What became of the ids in the file: `new` is the one here, and `is_new` whether its row has just come.
CREATE_IDS_TABLE_SQL = """
CREATE TEMPORARY TABLE exchange_ids (
    kind text, old uuid, new uuid NOT NULL, is_new boolean NOT NULL, PRIMARY KEY (kind, old)
)
"""
# What the namespace held before. The tables' own indexes cannot be relied on for that: of a namespace that is being
# filled the planner believes that it has no rows, and that any index will do.
CREATE_EXISTING_ROWS_TABLE_SQL = (
    "CREATE TEMPORARY TABLE exchange_there (kind text, key bytea, id uuid, PRIMARY KEY (kind, key))"
)
INSERT_EXISTING_ROWS_SQL = """
INSERT INTO exchange_there SELECT '{name}', twin, {key}
FROM (SELECT {key}, memories_sha256({identity}) AS twin FROM {table} WHERE namespace_id = %s) rows
WHERE twin IS NOT NULL
ON CONFLICT DO NOTHING
"""
CREATE_VECTORS_TABLE_SQL = "CREATE TEMPORARY TABLE exchange_vectors (memory uuid, model text, vector halfvec)"
# A row is there when its id is, or the one it got when its own belonged to another namespace, or else its twin.
INSERT_LINES_SQL = """
WITH line AS (
    SELECT place, spare, {missing} AS missing, %(defaults)s::jsonb || value || jsonb_build_object({replaced}) AS row
    FROM ROWS FROM (jsonb_array_elements(%(lines)s::jsonb), unnest(%(spares)s::uuid[]))
        WITH ORDINALITY AS lines(value, spare, place)
    {references}
),
given AS (
    SELECT place, spare, missing, memories_sha256({identity}) AS identity, given.*
    FROM line, jsonb_populate_record(NULL::{table}, line.row) AS given
),
found AS (
    SELECT given.*,
           CASE WHEN taken.namespace_id = %(namespace)s THEN taken.{key}
                WHEN again.namespace_id = %(namespace)s THEN again.{key} ELSE twin.id END AS known,
           CASE WHEN taken.{key} IS NULL THEN given.{key} ELSE spare END AS new
    FROM given
    LEFT JOIN {table} taken ON taken.{key} = given.{key}
    LEFT JOIN {table} again ON again.{key} = given.spare
    LEFT JOIN exchange_there twin ON twin.kind = %(kind)s AND twin.key = given.identity
    WHERE missing IS NULL
),
noted AS (
    INSERT INTO exchange_ids SELECT %(kind)s, {key}, coalesce(known, new), known IS NULL FROM found
),
kept AS (
    INSERT INTO {table} ({key}, namespace_id, {columns}) SELECT new, namespace_id, {values} FROM found
    WHERE known IS NULL
    {once}
    RETURNING {key}
)
SELECT place, missing FROM given WHERE missing IS NOT NULL
UNION ALL SELECT NULL, count(*)::text FROM kept
"""
# What PostgreSQL copies from the memory into its vectors, whichever columns these are.
SHARED_COLUMNS = ", ".join(
    sorted(
        {each.column for each in Embedding._meta.concrete_fields if each.column}
        & {each.column for each in Memory._meta.concrete_fields} - {"created_at"}
    )
)
INSERT_VECTORS_SQL = f"""
WITH fresh AS (
    SELECT memory.id AS memory_id, model, vector, {SHARED_COLUMNS}
    FROM exchange_vectors made
    JOIN exchange_ids ids ON ids.kind = 'memory' AND ids.old = made.memory AND ids.is_new
    JOIN {Memory._meta.db_table} memory ON memory.id = ids.new
),
done AS (
    DELETE FROM {DueEmbedding._meta.db_table} due USING fresh WHERE due.memory_id = fresh.memory_id
)
INSERT INTO {Embedding._meta.db_table} (memory_id, model, vector, {SHARED_COLUMNS})
SELECT memory_id, model, vector, {SHARED_COLUMNS} FROM fresh
"""
UPDATE_METADATA_IDS_SQL = f"""
UPDATE {Memory._meta.db_table} memory
SET metadata = metadata || jsonb_build_object(%(key)s::text, named.new)
FROM exchange_ids mine, exchange_ids named
WHERE mine.kind = 'memory' AND mine.is_new AND memory.id = mine.new
    AND named.kind = %(kind)s AND named.new <> named.old AND named.old::text = memory.metadata ->> %(key)s
"""
#: Classes of SQLSTATE: data that do not fit, a rule that is broken, too much of something, a trigger's no.
ROW_ERROR_CLASSES = ("22", "23", "54", "P0")
CHECK_VIOLATION = "23514"
# The same text may stand in a file twice that was written when other texts counted as the same.
SKIP_DUPLICATE_INSIGHTS_SQL = "ON CONFLICT (namespace_id, digest) DO NOTHING"
NOT_AN_INSIGHT = "memory_id names a memory that is no insight"


class TruncatedExport(Exception):
    """The file does not hold what its header tells; the message says what is missing."""


class ModelChangedDuringImport(Exception):
    """While the file was read the namespace got another model, and the vectors kept are of the one before."""


@dataclass(slots=True)
class ParsedLine:
    """A line that can be read, with its text as it stands in the file: numbers are not rounded on their way."""

    number: int
    kind: str
    id: UUID
    columns: frozenset[str]
    text: str
    #: Model and vector, as PostgreSQL receives it.
    vectors: list[tuple[str, bytes]]


class NamespaceImport:
    """One file on its way into one namespace. To be made, used and finished inside a transaction."""

    def __init__(self, namespace_id: int, header: ExportHeader) -> None:
        self.namespace_id, self.expected = namespace_id, Counter(header.counts)
        self.seen, self.new = Counter(), Counter()
        self.model, self.other_models, self.has_vectors = find_active_model(namespace_id), set(), False
        with connection.cursor() as cursor:
            for table in (CREATE_IDS_TABLE_SQL, CREATE_EXISTING_ROWS_TABLE_SQL, CREATE_VECTORS_TABLE_SQL):
                cursor.execute(table)
            for kind in RECORD_TYPES.values():
                cursor.execute(INSERT_EXISTING_ROWS_SQL.format(**build_sql_names(kind)), [namespace_id])

    def keep(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        """Keep what is not there yet. What is wrong comes back as line number and reason; then nothing may stay."""
        for _, group in groupby(lines, key=lambda line: (line.kind, line.columns)):
            alike = list(group)
            self.seen[alike[0].kind] += len(alike)
            alike, wrong = add_insight_columns(alike) if alike[0].kind == "insight" else (alike, [])
            if wrong := sorted(wrong + (self.insert_or_report(alike) if alike else [])):
                return wrong  # what follows may name a line that is wrong
        return []

    def insert_or_report(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        try:
            return self.insert_group(lines)
        except Error as error:
            why = describe_error(error)
        if len(lines) == 1:
            return [(lines[0].number, why)]
        return [wrong for line in lines for wrong in self.insert_or_report([line])]  # to learn which of them it is

    def insert_group(self, lines: Sequence[ParsedLine]) -> list[tuple[int, str]]:
        """Lines of one kind with the same columns, in one statement. Raises what PostgreSQL has against them."""
        kind = RECORD_TYPES[lines[0].kind]
        columns, defaults = select_columns(kind, lines[0].columns)
        parameters = {
            "namespace": self.namespace_id,
            "kind": kind.name,
            "defaults": defaults,
            "lines": f"[{','.join(line.text for line in lines)}]",
            "spares": [derive_copy_id(line.id, self.namespace_id) for line in lines],
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(build_insert_sql(kind, columns), parameters)
            *missing, (_, new) = cursor.fetchall()
            self.insert_vectors(cursor, lines)
        self.new[kind.name] += int(new)
        return [(lines[place - 1].number, describe_missing_reference(kind, column)) for place, column in missing]

    def insert_vectors(self, cursor: Any, lines: Sequence[ParsedLine]) -> None:
        """Those of memories that are new, which are not to be embedded any more. A vector of a model that does not
        serve here no search would meet."""
        self.other_models |= {model for line in lines for model, _ in line.vectors} - {self.model}
        rows = [(line.id, *each) for line in lines for each in line.vectors if each[0] == self.model]
        if not rows:
            return
        self.has_vectors = True
        with cursor.copy("COPY exchange_vectors FROM STDIN (FORMAT BINARY)") as into:
            into.set_types(["uuid", "text", "bytea"])
            for row in rows:
                into.write_row(row)
        cursor.execute(INSERT_VECTORS_SQL)
        cursor.execute("TRUNCATE exchange_vectors")

    def finish(self) -> None:
        """Metadata follow ids that have changed. Raises NotWhole or ServedByAnother."""
        if self.seen != self.expected:
            told = [
                f"{self.expected[kind]:,} of the kind {kind}, and {self.seen[kind]:,} are here"
                for kind in RECORD_TYPES
                if self.seen[kind] != self.expected[kind]
            ]
            raise TruncatedExport(f"The file is not whole. Its first line tells of {'; '.join(told)}.")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE exchange_ids")
            for key, kind in METADATA_REFERENCES.items():
                cursor.execute(UPDATE_METADATA_IDS_SQL, {"key": key, "kind": kind})
            cursor.execute("DROP TABLE exchange_ids, exchange_there, exchange_vectors")
        if self.has_vectors:
            self.confirm_model()

    def confirm_model(self) -> None:
        """The last thing of all: whoever embeds for this namespace waits for its row until the transaction ends.
        Raises ServedByAnother."""
        active_model.set_initial_model([self.namespace_id], self.model)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT embedding_model FROM sessions_app_namespace WHERE id = %s FOR SHARE", [self.namespace_id]
            )
            if cursor.fetchone() != (self.model,):
                raise ModelChangedDuringImport(
                    "Another model has come to serve this namespace meanwhile; import it again."
                )


def purge_expired_rows(namespace_id: int) -> None:
    """What is over is in nobody's way. Not in the import's own transaction where that can be: others who remove it, or
    add the same again, would wait for its end."""
    Memory.objects.filter(namespace_id=namespace_id).expired().delete()
    SessionMemory.objects.filter(namespace_id=namespace_id).outdated().delete()


def find_active_model(namespace_id: int) -> str | None:
    """The model whose vectors searches meet here: where that is not decided yet, the configured one. No file decides
    it, since the texts of a namespace are shown to its model. None when the configured one cannot be had."""
    if decided := Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id):
        return decided
    with suppress(EmbedderUnavailable):
        return get_embedder().model
    return None


def describe_missing_reference(kind: RecordType, column: str) -> str:
    return f"{column} names a {kind.references[column]} that stands on no earlier line"


def describe_error(error: Error) -> str:
    """What PostgreSQL has against a row, for people; raised again when it is something else."""
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) is None or not cause.sqlstate.startswith(ROW_ERROR_CLASSES):
        raise error
    rule = cause.diag.constraint_name
    if rule == "exchange_ids_pkey":
        return "its id stands on an earlier line too"
    if cause.sqlstate == CHECK_VIOLATION and rule:  # the names of these are sentences
        return f"this does not hold: {rule.replace('_', ' ')}"
    return cause.diag.message_primary


@cache
def build_insert_sql(kind: RecordType, columns: tuple[str, ...]) -> str:
    """KEEP for lines that bring these columns."""
    join = "LEFT JOIN exchange_ids {0} ON {0}.kind = '{1}' AND {0}.old = (value ->> '{0}')::uuid"
    missing = [f"WHEN value ->> '{name}' IS NOT NULL AND {name}.new IS NULL THEN '{name}'" for name in kind.references]
    # PostgreSQL takes the null of JSON for its own, which such a column has no place for.
    json = {each.column for each in kind.fields if isinstance(each, JSONField) and not each.null}
    replaced = {"namespace_id": "%(namespace)s::bigint"} | {name: f"{name}.new" for name in kind.references}
    return INSERT_LINES_SQL.format(
        **build_sql_names(kind),
        columns=", ".join(f'"{name}"' for name in columns),
        values=", ".join(f"coalesce(\"{name}\", 'null')" if name in json else f'"{name}"' for name in columns),
        references=" ".join(join.format(*each) for each in kind.references.items()),
        missing=f"CASE {' '.join(missing)} END" if missing else "NULL",
        once=SKIP_DUPLICATE_INSIGHTS_SQL if kind.name == "insight" else "",
        replaced=", ".join(f"'{name}', {value}" for name, value in (replaced | dict(kind.computed)).items()),
    )


def build_sql_names(kind: RecordType) -> dict[str, str]:
    return {"name": kind.name, "identity": kind.identity, "table": kind.table, "key": kind.key}


def select_columns(kind: RecordType, given: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """The columns to write, and as JSON those of Django's defaults that are needed; PostgreSQL knows its own."""
    others = [each for each in kind.fields if each.column not in given and each.has_default()]
    defaults = {each.column: each.get_default() for each in others}
    columns = [
        name for name in (*kind.columns, *kind.derived) if name != kind.key and (name in given or name in defaults)
    ]
    return tuple(columns), to_json(defaults).decode()


def derive_copy_id(id: UUID, namespace_id: int) -> UUID:
    """What a row is called in this namespace whose own id is another namespace's; the same each time, and of the same
    age."""
    digest = hashlib.sha256(id.bytes + namespace_id.to_bytes(8)).digest()
    variant_and_rest = 1 << 63 | int.from_bytes(digest[:8]) >> 2
    return UUID(int=id.int >> 64 << 64 | variant_and_rest)


def add_insight_columns(lines: Sequence[ParsedLine]) -> tuple[list[ParsedLine], list[tuple[int, str]]]:
    """Insights with what they are recognised by, and line number and reason of those that are wrong. One whose memory
    was here already, and is no insight any more, is left out."""
    made = fetch_insight_columns([line.id for line in lines])
    told = [
        replace(line, text=merge_columns(line.text, made.get(line.id, {})))  # what names no memory is told by KEEP
        for line in lines
        if made.get(line.id, {}) not in (NEVER_INSIGHT, NO_LONGER_INSIGHT)
    ]
    return told, [(line.number, NOT_AN_INSIGHT) for line in lines if made.get(line.id) == NEVER_INSIGHT]


def merge_columns(text: str, columns: dict[str, Any]) -> str:
    """The line with these instead of its own: of the same name JSON in PostgreSQL knows the last."""
    return f"{text.rstrip()[:-1]},{json.dumps(columns)[1:]}" if columns else text


def parse_line(number: int, given: Any, text: str) -> ParsedLine:
    """Raises ValueError, whose text is for people."""
    kind = given.get("kind") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in RECORD_TYPES:
        raise ValueError(f"kind: must be one of {', '.join(RECORD_TYPES)}")
    read = validate_model(build_line_schema(kind), given)
    if kind == "session":
        history = [encrypt(interaction.model_dump()) for interaction in read.history]
        text = json.dumps(given | {"history": history})
    vectors = [(each.model, each.vector) for each in getattr(read, "vectors", [])]
    record_type = RECORD_TYPES[kind]
    given_names = read.model_fields_set - {"kind", "vectors"}
    renamed = {column: name for column, name in record_type.file_names.items() if name in given_names}
    own_values = {column: getattr(read, name) for column, name in renamed.items()} | derive_line_columns(kind, read)
    columns = given_names - {*renamed.values()} | {*renamed, *record_type.derived}
    row_id = getattr(read, record_type.key)
    return ParsedLine(number, kind, row_id, frozenset(columns), merge_columns(text, own_values), vectors)


def validate_model(model: type[BaseModel], given: dict[str, Any]) -> BaseModel:
    """Raises ValueError, whose text is for people."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
