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

from ingestion.transfer.derived_columns import NEVER, NO_LONGER, marks_of, of_line
from ingestion.transfer.line_schemas import Header, shape
from ingestion.transfer.record_types import KINDS, NAMED_IN_METADATA, Kind
from memories import active_model
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import DueEmbedding, Embedding, Memory
from sessions_app.commands import sentences
from sessions_app.encryption import sealed
from sessions_app.models import Namespace, SessionMemory

# What became of the ids in the file: `new` is the one here, and `is_new` whether its row has just come.
IDS = """
CREATE TEMPORARY TABLE exchange_ids (
    kind text, old uuid, new uuid NOT NULL, is_new boolean NOT NULL, PRIMARY KEY (kind, old)
)
"""
# What the namespace held before. The tables' own indexes cannot be relied on for that: of a namespace that is being
# filled the planner believes that it has no rows, and that any index will do.
THERE = "CREATE TEMPORARY TABLE exchange_there (kind text, key bytea, id uuid, PRIMARY KEY (kind, key))"
NOTE = """
INSERT INTO exchange_there SELECT '{name}', twin, {key}
FROM (SELECT {key}, memories_sha256({identity}) AS twin FROM {table} WHERE namespace_id = %s) rows
WHERE twin IS NOT NULL
ON CONFLICT DO NOTHING
"""
VECTORS = "CREATE TEMPORARY TABLE exchange_vectors (memory uuid, model text, vector halfvec)"
# A row is there when its id is, or the one it got when its own belonged to another namespace, or else its twin.
KEEP = """
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
SHARED = ", ".join(
    sorted(
        {each.column for each in Embedding._meta.concrete_fields if each.column}
        & {each.column for each in Memory._meta.concrete_fields} - {"created_at"}
    )
)
KEEP_VECTORS = f"""
WITH fresh AS (
    SELECT memory.id AS memory_id, model, vector, {SHARED}
    FROM exchange_vectors made
    JOIN exchange_ids ids ON ids.kind = 'memory' AND ids.old = made.memory AND ids.is_new
    JOIN {Memory._meta.db_table} memory ON memory.id = ids.new
),
done AS (
    DELETE FROM {DueEmbedding._meta.db_table} due USING fresh WHERE due.memory_id = fresh.memory_id
)
INSERT INTO {Embedding._meta.db_table} (memory_id, model, vector, {SHARED})
SELECT memory_id, model, vector, {SHARED} FROM fresh
"""
FOLLOW = f"""
UPDATE {Memory._meta.db_table} memory
SET metadata = metadata || jsonb_build_object(%(key)s::text, named.new)
FROM exchange_ids mine, exchange_ids named
WHERE mine.kind = 'memory' AND mine.is_new AND memory.id = mine.new
    AND named.kind = %(kind)s AND named.new <> named.old AND named.old::text = memory.metadata ->> %(key)s
"""
#: Classes of SQLSTATE: data that do not fit, a rule that is broken, too much of something, a trigger's no.
OF_THE_ROW = ("22", "23", "54", "P0")
CHECK_VIOLATION = "23514"
# The same text may stand in a file twice that was written when other texts counted as the same.
ONCE = "ON CONFLICT (namespace_id, digest) DO NOTHING"
NO_INSIGHT = "memory_id names a memory that is no insight"


class NotWhole(Exception):
    """The file does not hold what its header tells; the message says what is missing."""


class ServedByAnother(Exception):
    """While the file was read the namespace got another model, and the vectors kept are of the one before."""


@dataclass(slots=True)
class Line:
    """A line that can be read, with its text as it stands in the file: numbers are not rounded on their way."""

    number: int
    kind: str
    id: UUID
    columns: frozenset[str]
    text: str
    #: Model and vector, as PostgreSQL receives it.
    vectors: list[tuple[str, bytes]]


class Import:
    """One file on its way into one namespace. To be made, used and finished inside a transaction."""

    def __init__(self, namespace_id: int, header: Header) -> None:
        self.namespace_id, self.expected = namespace_id, Counter(header.counts)
        self.seen, self.new = Counter(), Counter()
        self.model, self.other_models, self.has_vectors = serving_model(namespace_id), set(), False
        with connection.cursor() as cursor:
            for table in (IDS, THERE, VECTORS):
                cursor.execute(table)
            for kind in KINDS.values():
                cursor.execute(NOTE.format(**named(kind)), [namespace_id])

    def keep(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """Keep what is not there yet. What is wrong comes back as line number and reason; then nothing may stay."""
        for _, group in groupby(lines, key=lambda line: (line.kind, line.columns)):
            alike = list(group)
            self.seen[alike[0].kind] += len(alike)
            alike, wrong = recognised(alike) if alike[0].kind == "insight" else (alike, [])
            if wrong := sorted(wrong + (self.keep_or_blame(alike) if alike else [])):
                return wrong  # what follows may name a line that is wrong
        return []

    def keep_or_blame(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        try:
            return self.keep_alike(lines)
        except Error as error:
            why = reason(error)
        if len(lines) == 1:
            return [(lines[0].number, why)]
        return [wrong for line in lines for wrong in self.keep_or_blame([line])]  # to learn which of them it is

    def keep_alike(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """Lines of one kind with the same columns, in one statement. Raises what PostgreSQL has against them."""
        kind = KINDS[lines[0].kind]
        columns, defaults = with_defaults(kind, lines[0].columns)
        parameters = {
            "namespace": self.namespace_id,
            "kind": kind.name,
            "defaults": defaults,
            "lines": f"[{','.join(line.text for line in lines)}]",
            "spares": [id_of_copy(line.id, self.namespace_id) for line in lines],
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(keep_sql(kind, columns), parameters)
            *missing, (_, new) = cursor.fetchall()
            self.keep_vectors(cursor, lines)
        self.new[kind.name] += int(new)
        return [(lines[place - 1].number, not_there(kind, column)) for place, column in missing]

    def keep_vectors(self, cursor: Any, lines: Sequence[Line]) -> None:
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
        cursor.execute(KEEP_VECTORS)
        cursor.execute("TRUNCATE exchange_vectors")

    def finish(self) -> None:
        """Metadata follow ids that have changed. Raises NotWhole or ServedByAnother."""
        if self.seen != self.expected:
            told = [
                f"{self.expected[kind]:,} of the kind {kind}, and {self.seen[kind]:,} are here"
                for kind in KINDS
                if self.seen[kind] != self.expected[kind]
            ]
            raise NotWhole(f"The file is not whole. Its first line tells of {'; '.join(told)}.")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE exchange_ids")
            for key, kind in NAMED_IN_METADATA.items():
                cursor.execute(FOLLOW, {"key": key, "kind": kind})
            cursor.execute("DROP TABLE exchange_ids, exchange_there, exchange_vectors")
        if self.has_vectors:
            self.settle_the_model()

    def settle_the_model(self) -> None:
        """The last thing of all: whoever embeds for this namespace waits for its row until the transaction ends.
        Raises ServedByAnother."""
        active_model.decide([self.namespace_id], self.model)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT embedding_model FROM sessions_app_namespace WHERE id = %s FOR SHARE", [self.namespace_id]
            )
            if cursor.fetchone() != (self.model,):
                raise ServedByAnother("Another model has come to serve this namespace meanwhile; import it again.")


def make_room(namespace_id: int) -> None:
    """What is over is in nobody's way. Not in the import's own transaction where that can be: others who remove it, or
    add the same again, would wait for its end."""
    Memory.objects.filter(namespace_id=namespace_id).expired().delete()
    SessionMemory.objects.filter(namespace_id=namespace_id).outdated().delete()


def serving_model(namespace_id: int) -> str | None:
    """The model whose vectors searches meet here: where that is not decided yet, the configured one. No file decides
    it, since the texts of a namespace are shown to its model. None when the configured one cannot be had."""
    if decided := Namespace.objects.values_list("embedding_model", flat=True).get(pk=namespace_id):
        return decided
    with suppress(EmbedderUnavailable):
        return get_embedder().model
    return None


def not_there(kind: Kind, column: str) -> str:
    return f"{column} names a {kind.references[column]} that stands on no earlier line"


def reason(error: Error) -> str:
    """What PostgreSQL has against a row, for people; raised again when it is something else."""
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) is None or not cause.sqlstate.startswith(OF_THE_ROW):
        raise error
    rule = cause.diag.constraint_name
    if rule == "exchange_ids_pkey":
        return "its id stands on an earlier line too"
    if cause.sqlstate == CHECK_VIOLATION and rule:  # the names of these are sentences
        return f"this does not hold: {rule.replace('_', ' ')}"
    return cause.diag.message_primary


@cache
def keep_sql(kind: Kind, columns: tuple[str, ...]) -> str:
    """KEEP for lines that bring these columns."""
    join = "LEFT JOIN exchange_ids {0} ON {0}.kind = '{1}' AND {0}.old = (value ->> '{0}')::uuid"
    missing = [f"WHEN value ->> '{name}' IS NOT NULL AND {name}.new IS NULL THEN '{name}'" for name in kind.references]
    # PostgreSQL takes the null of JSON for its own, which such a column has no place for.
    json = {each.column for each in kind.fields if isinstance(each, JSONField) and not each.null}
    replaced = {"namespace_id": "%(namespace)s::bigint"} | {name: f"{name}.new" for name in kind.references}
    return KEEP.format(
        **named(kind),
        columns=", ".join(f'"{name}"' for name in columns),
        values=", ".join(f"coalesce(\"{name}\", 'null')" if name in json else f'"{name}"' for name in columns),
        references=" ".join(join.format(*each) for each in kind.references.items()),
        missing=f"CASE {' '.join(missing)} END" if missing else "NULL",
        once=ONCE if kind.name == "insight" else "",
        replaced=", ".join(f"'{name}', {value}" for name, value in (replaced | dict(kind.computed)).items()),
    )


def named(kind: Kind) -> dict[str, str]:
    return {"name": kind.name, "identity": kind.identity, "table": kind.table, "key": kind.key}


def with_defaults(kind: Kind, given: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """The columns to write, and as JSON those of Django's defaults that are needed; PostgreSQL knows its own."""
    others = [each for each in kind.fields if each.column not in given and each.has_default()]
    defaults = {each.column: each.get_default() for each in others}
    columns = [
        name for name in (*kind.columns, *kind.derived) if name != kind.key and (name in given or name in defaults)
    ]
    return tuple(columns), to_json(defaults).decode()


def id_of_copy(id: UUID, namespace_id: int) -> UUID:
    """What a row is called in this namespace whose own id is another namespace's; the same each time, and of the same
    age."""
    digest = hashlib.sha256(id.bytes + namespace_id.to_bytes(8)).digest()
    variant_and_rest = 1 << 63 | int.from_bytes(digest[:8]) >> 2
    return UUID(int=id.int >> 64 << 64 | variant_and_rest)


def recognised(lines: Sequence[Line]) -> tuple[list[Line], list[tuple[int, str]]]:
    """Insights with what they are recognised by, and line number and reason of those that are wrong. One whose memory
    was here already, and is no insight any more, is left out."""
    made = marks_of([line.id for line in lines])
    told = [
        replace(line, text=with_columns(line.text, made.get(line.id, {})))  # what names no memory is told by KEEP
        for line in lines
        if made.get(line.id, {}) not in (NEVER, NO_LONGER)
    ]
    return told, [(line.number, NO_INSIGHT) for line in lines if made.get(line.id) == NEVER]


def with_columns(text: str, columns: dict[str, Any]) -> str:
    """The line with these instead of its own: of the same name JSON in PostgreSQL knows the last."""
    return f"{text.rstrip()[:-1]},{json.dumps(columns)[1:]}" if columns else text


def line_of(number: int, given: Any, text: str) -> Line:
    """Raises ValueError, whose text is for people."""
    kind = given.get("kind") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}")
    read = checked(shape(kind), given)
    if kind == "session":
        history = [sealed(interaction.model_dump()) for interaction in read.history]
        text = json.dumps(given | {"history": history})
    vectors = [(each.model, each.vector) for each in getattr(read, "vectors", [])]
    own, anew = getattr(read, KINDS[kind].key), of_line(kind, read)
    columns = read.model_fields_set - {"kind", "vectors"} | {*KINDS[kind].derived}
    return Line(number, kind, own, frozenset(columns), with_columns(text, anew), vectors)


def checked(model: type[BaseModel], given: dict[str, Any]) -> BaseModel:
    """Raises ValueError, whose text is for people."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValueError(sentences(error)) from None
