"""Writing an export: one statement, so that all its lines tell of the same moment."""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.core.exceptions import EmptyResultSet
from django.db import connection, models, transaction

from ingestion.transfer.record_types import EXPORT_VERSION, HEADER_KIND, RECORD_TYPES, RecordType, select_rows
from memories.models import Embedding
from sessions_app.encryption import HistoryUnreadable, decrypt
from sessions_app.models import Namespace

EXPORT_FETCH_SIZE = 500
SqlStatement = tuple[str, list[Any]]
SELECT_LINES_SQL = "SELECT '{kind}' AS kind, row_to_json(row)::text AS row, {vectors} FROM {rows} ORDER BY row.{key}"
# Of a vector that was made of other content nothing is told: the memory is embedded anew where it is imported. What
# PostgreSQL sends are four bytes that tell the length, then numbers with the high byte first.
JOIN_VECTORS_SQL = f"""
LEFT JOIN LATERAL (
    SELECT array_agg(model ORDER BY model) AS models,
           array_agg(halfvec_send(vector) ORDER BY model) AS vectors
    FROM {Embedding._meta.db_table} made
    JOIN {RECORD_TYPES["memory"].table} memory ON memory.id = made.memory_id AND memory.content_hash = made.content_hash
    WHERE made.memory_id = row.id
) of_memory ON true"""


class UnexportableRow(Exception):
    """Something cannot be read; the message names it."""


def export_namespace(namespace: Namespace, user_id: str | None) -> Iterator[bytes]:
    """The lines, each with its end; the first one is the header. Raises CannotBeExported."""
    header = {"kind": HEADER_KIND, "version": EXPORT_VERSION, "namespace": namespace.name, "user": user_id}
    header |= {"embedding_model": namespace.embedding_model, "created_at": datetime.now(UTC).isoformat()}
    sql, parameters = build_export_statement(select_rows(namespace.pk, user_id))
    with transaction.atomic(), connection.cursor() as plain, connection.chunked_cursor() as cursor:
        plain.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # whoever reads a pipe may take his time
        cursor.execute(sql, parameters)
        while rows := cursor.fetchmany(EXPORT_FETCH_SIZE):
            for kind, row, models_of, vectors in rows:
                yield format_header(header, row) if kind == HEADER_KIND else format_line(kind, row, models_of, vectors)


def build_export_statement(rows: Mapping[str, models.QuerySet]) -> SqlStatement:
    """Rows of (kind, columns as JSON, names of models, their vectors); the first has the number of rows of each
    kind."""
    selected = {name: build_columns_sql(RECORD_TYPES[name], rows) for name in RECORD_TYPES}
    counts = ", ".join(f"'{name}', (SELECT count(*) FROM ({sql}) rows)" for name, (sql, _) in selected.items())
    first = f"SELECT '{HEADER_KIND}' AS kind, json_build_object({counts})::text AS row, NULL::text[], NULL::bytea[]"
    parts = [f"({build_lines_sql(name, sql)})" for name, (sql, _) in selected.items()]
    parameters = [parameter for _, given in selected.values() for parameter in given]
    return " UNION ALL ".join([first, *parts]), parameters * 2


def build_columns_sql(kind: RecordType, rows: Mapping[str, models.QuerySet]) -> SqlStatement:
    """The columns to write. What names a row that is not exported is empty."""
    sql, parameters = compile_query(rows[kind.name].values(*kind.columns))
    columns, more = [], []
    for name in kind.columns:
        if name in kind.references:
            exported, given = compile_query(rows[kind.references[name]].values("pk"))
            columns.append(f'CASE WHEN "{name}" IN ({exported}) THEN "{name}" END AS "{name}"')
            more += given
        else:
            columns.append(f'"{name}" AS "{kind.file_name(name)}"')
    return f"SELECT {', '.join(columns)} FROM ({sql}) rows", more + parameters


def compile_query(rows: models.QuerySet) -> SqlStatement:
    try:
        sql, parameters = rows.order_by().query.sql_with_params()
    except EmptyResultSet:  # Django knows without asking that there are none
        return compile_query(rows.model.objects.filter(pk__isnull=True).values(*rows.query.values_select))
    return sql, list(parameters)


def build_lines_sql(kind: str, sql: str) -> str:
    if kind == "memory":
        return SELECT_LINES_SQL.format(
            kind=kind, key="id", rows=f"({sql}) row {JOIN_VECTORS_SQL}", vectors="models, vectors"
        )
    return SELECT_LINES_SQL.format(kind=kind, key=RECORD_TYPES[kind].key, rows=f"({sql}) row", vectors="NULL, NULL")


def format_header(header: Mapping[str, Any], counts: str) -> bytes:
    return json.dumps({**header, "counts": json.loads(counts)}, ensure_ascii=False).encode() + b"\n"


def format_line(kind: str, row: str, models_of: list[str] | None, vectors: list[bytes] | None) -> bytes:
    """PostgreSQL's own text, in which no number is rounded. Raises CannotBeExported."""
    text = f'{{"kind":"{kind}",' + (decrypt_history(row) if kind == "session" else row)[1:]
    if vectors:
        told = [
            {"model": model, "vector": base64.b64encode(to_little_endian(vector)).decode()}
            for model, vector in zip(models_of, vectors, strict=True)
        ]
        text = f'{text[:-1]},"vectors":{json.dumps(told, ensure_ascii=False)}}}'
    return text.encode() + b"\n"


def to_little_endian(sent: bytes) -> bytes:
    """Float16 numbers as numpy and most others read them."""
    return np.frombuffer(sent, ">f2", offset=4).astype("<f2").tobytes()


def decrypt_history(row: str) -> str:
    """Sealed histories are opened: elsewhere nobody has the keys. Raises CannotBeExported."""
    session = json.loads(row)
    try:
        session["history"] = [decrypt(stored) for stored in session["history"]]
    except HistoryUnreadable as error:
        raise UnexportableRow(f"The session {session['session_id']!r}: {error}") from error
    return json.dumps(session, ensure_ascii=False, separators=(",", ":"))
