"""Export as JSON Lines by one statement, so that all lines show the same moment."""

import base64
import json
from collections.abc import Generator, Mapping
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
# Vectors of outdated content are left out: the memory is embedded again after the import. halfvec_send gives four bytes
# of header, then big-endian float16 numbers.
JOIN_VECTORS_SQL = f"""
LEFT JOIN LATERAL (
    SELECT array_agg(model ORDER BY model) AS models,
           array_agg(halfvec_send(vector) ORDER BY model) AS vectors
    FROM {Embedding._meta.db_table} embedding
    JOIN {RECORD_TYPES["memory"].table} memory ON memory.id = embedding.memory_id
        AND memory.content_hash = embedding.content_hash
    WHERE embedding.namespace_id = %s AND memory.namespace_id = %s AND embedding.memory_id = row.id
) of_memory ON true"""


class UnexportableRow(Exception):
    """A row cannot be exported; the message names it."""


def export_namespace(namespace: Namespace, user_id: str | None) -> Generator[bytes]:
    """Yield the lines with their line ends, the header first. Raises UnexportableRow."""
    header: dict[str, Any] = {
        "kind": HEADER_KIND,
        "version": EXPORT_VERSION,
        "namespace": namespace.name,
        "user": user_id,
    }
    header |= {"embedding_model": namespace.embedding_model, "created_at": datetime.now(UTC).isoformat()}
    sql, parameters = build_export_statement(namespace.pk, select_rows(namespace.pk, user_id))
    with transaction.atomic(), connection.cursor() as plain, connection.chunked_cursor() as cursor:
        plain.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the reader of a pipe may be slow
        cursor.execute(sql, parameters)
        while rows := cursor.fetchmany(EXPORT_FETCH_SIZE):
            for kind, row, model_names, vectors in rows:
                yield (
                    format_header(header, row) if kind == HEADER_KIND else format_line(kind, row, model_names, vectors)
                )


def build_export_statement(namespace_id: int, rows: Mapping[str, models.QuerySet]) -> SqlStatement:
    """Build the statement whose rows are (kind, columns as JSON, model names, vectors).

    The first row has the number of rows of each kind instead of columns.
    """
    selected = {name: build_columns_sql(RECORD_TYPES[name], rows) for name in RECORD_TYPES}
    counts = ", ".join(f"'{name}', (SELECT count(*) FROM ({sql}) rows)" for name, (sql, _) in selected.items())
    header = f"SELECT '{HEADER_KIND}' AS kind, json_build_object({counts})::text AS row, NULL::text[], NULL::bytea[]"
    parts = [f"({build_lines_sql(name, sql)})" for name, (sql, _) in selected.items()]
    counted = [parameter for _, part_parameters in selected.values() for parameter in part_parameters]
    listed = [
        parameter
        for name, (_, part_parameters) in selected.items()
        for parameter in (*part_parameters, *([namespace_id] * 2 if name == "memory" else []))
    ]
    return " UNION ALL ".join([header, *parts]), counted + listed


def build_columns_sql(kind: RecordType, rows: Mapping[str, models.QuerySet]) -> SqlStatement:
    """Build the query of a kind's columns. References to rows that are not exported become null."""
    sql, parameters = compile_query(rows[kind.name].values(*kind.columns))
    columns: list[str] = []
    more: list[Any] = []
    for name in kind.columns:
        if name in kind.references:
            exported, exported_parameters = compile_query(rows[kind.references[name]].values("pk"))
            columns.append(f'CASE WHEN "{name}" IN ({exported}) THEN "{name}" END AS "{name}"')
            more += exported_parameters
        else:
            columns.append(f'"{name}" AS "{kind.file_name(name)}"')
    return f"SELECT {', '.join(columns)} FROM ({sql}) rows", more + parameters


def compile_query(rows: models.QuerySet) -> SqlStatement:
    try:
        sql, parameters = rows.order_by().query.sql_with_params()
    except EmptyResultSet:  # Django compiles no SQL for a queryset that is known to be empty
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


def format_line(kind: str, row: str, model_names: list[str] | None, vectors: list[bytes] | None) -> bytes:
    """Format a line from PostgreSQL's own JSON text, in which no number is rounded. Raises UnexportableRow."""
    text = f'{{"kind":"{kind}",' + (decrypt_history(row) if kind == "session" else row)[1:]
    if model_names and vectors:
        encoded = [
            {"model": model, "vector": base64.b64encode(to_little_endian(vector)).decode()}
            for model, vector in zip(model_names, vectors, strict=True)
        ]
        text = f'{text[:-1]},"vectors":{json.dumps(encoded, ensure_ascii=False)}}}'
    return text.encode() + b"\n"


def to_little_endian(halfvec: bytes) -> bytes:
    """Convert the output of halfvec_send to little-endian float16 numbers, the native format of most readers."""
    return np.frombuffer(halfvec, ">f2", offset=4).astype("<f2").tobytes()


def decrypt_history(row: str) -> str:
    """Return a session's JSON with a decrypted history: the importing site has no keys. Raises UnexportableRow."""
    session = json.loads(row)
    try:
        session["history"] = [decrypt(stored) for stored in session["history"]]
    except HistoryUnreadable as error:
        raise UnexportableRow(f"The session {session['session_id']!r}: {error}") from error
    return json.dumps(session, ensure_ascii=False, separators=(",", ":"))
