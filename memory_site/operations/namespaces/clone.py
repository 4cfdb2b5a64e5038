"""Clone a namespace: all its rows under another name, in one transaction.

Either the whole clone is there or nothing of it; a clone that was interrupted is begun again. It shows one moment of
the original, which goes on being used. The clone has no API keys.

An id identifies one row of the console, so that the clone needs others: each is derived from the one it stands for, and
references find their rows without a table of ids.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Field, Model
from psycopg import sql

from ingestion.transfer.record_types import JSON_REFERENCES, RECORD_TYPES
from memory_site.core.db.divided import list_key_columns
from memory_site.operations.namespaces.copied_tables import FILLED_BY_TRIGGERS, list_copied_models
from memory_site.operations.namespaces.names import NamespaceProblem, check_name
from sessions_app.models import Namespace

BATCH_ROWS = 5_000
UUID_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
#: Columns of the namespace itself that the clone has of its own.
OWN_FIELDS = ("id", "name", "created_at")
# Time, version and variant stay, so that the order of the rows does; 70 bits come from a hash of both.
NEW_ID_SQL = sql.SQL(
    "overlay(overlay(md5(%(salt)s || {id}::text) PLACING left(replace({id}::text, '-', ''), 13) FROM 1)"
    " PLACING substr({id}::text, 20, 1) FROM 17)::uuid"
)
# An id within JSON, if it is one of a row of the original: an API client may have written anything there.
NEW_JSON_ID_SQL = sql.SQL(
    "CASE WHEN {column} ->> {key} ~ %(pattern)s AND EXISTS (SELECT FROM {target} WHERE namespace_id = %(source)s"
    " AND {target}.id = CASE WHEN {column} ->> {key} ~ %(pattern)s THEN ({column} ->> {key})::uuid END)"
    " THEN jsonb_build_object({key}, {new_id}) ELSE '{{}}' END"
)
COPY_SQL = sql.SQL("INSERT INTO {table} (namespace_id, {columns}) SELECT %(clone)s, {values} FROM {table} {condition}")
# The next batch ends with its last key, which may have several rows.
SELECT_BOUND_SQL = sql.SQL(
    "SELECT (array_agg(key ORDER BY key DESC))[1], count(*) FROM (SELECT {key} AS key FROM {table}"
    " WHERE namespace_id = %(source)s{after} ORDER BY {key} LIMIT %(rows)s) batch"
)


def count_rows_to_copy(namespace_id: int) -> int:
    return sum(model._base_manager.filter(namespace=namespace_id).count() for model in list_copied_models())


def clone_namespace(source: Namespace, name: str) -> Iterator[int]:
    """Clone the namespace under a new name. Yield the numbers of copied rows, batch after batch; nothing is there for
    others before the end. Raises NamespaceProblem."""
    check_name(name)
    try:
        with transaction.atomic(), freeze_moment():
            clone = Namespace(name=name, **copy_fields(source))
            clone.save(force_insert=True)
            for model in list_copied_models():
                yield from copy_table(model, source.pk, clone.pk)
    except IntegrityError as error:
        if "name" in str(error.__cause__):
            raise NamespaceProblem(f"There is a namespace {name!r} already.") from error
        raise


@contextmanager
def freeze_moment() -> Iterator[None]:
    """Have all statements of the transaction, which must not have begun, see the same rows, for as long as it takes."""
    with connection.cursor() as cursor:
        if len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    yield


def copy_fields(source: Namespace) -> dict[str, Any]:
    source.refresh_from_db()
    fields = Namespace._meta.concrete_fields
    return {field.attname: getattr(source, field.attname) for field in fields if field.name not in OWN_FIELDS}


def copy_table(model: type[Model], source: int, clone: int) -> Iterator[int]:
    """Copy the rows of a table in batches by its key, and yield the number of rows of each."""
    parameters = {"source": source, "clone": clone, "salt": f"{clone} ", "pattern": UUID_PATTERN, "rows": BATCH_ROWS}
    with connection.cursor() as cursor:
        if model._meta.db_table == FILLED_BY_TRIGGERS:
            cursor.execute(f"DELETE FROM {FILLED_BY_TRIGGERS} WHERE namespace_id = %s", [clone])
        for condition, values in iterate_batches(cursor, model, parameters):
            cursor.execute(build_copy_statement(model, condition), parameters | values)
            yield cursor.rowcount


def iterate_batches(cursor: Any, model: type[Model], parameters: dict) -> Iterator[tuple[sql.Composable, dict]]:
    """Yield the condition of each batch with its values. A table that refers to itself is one batch: a row may come
    before the one that it refers to."""
    key = sql.Identifier(list_key_columns(model)[1])
    whole = sql.SQL("WHERE namespace_id = %(source)s")
    if any(field.related_model is model for field in model._meta.concrete_fields):
        yield whole, {}
        return
    after: sql.Composable = sql.SQL("")
    values: dict[str, Any] = {}
    while True:
        statement = SELECT_BOUND_SQL.format(key=key, table=sql.Identifier(model._meta.db_table), after=after)
        cursor.execute(statement, parameters | values)
        last, rows = cursor.fetchone()
        if not rows:
            return
        yield sql.SQL("{}{} AND {} <= %(last)s").format(whole, after, key), values | {"last": last}
        after, values = sql.SQL(" AND {} > %(after)s").format(key), {"after": last}


def build_copy_statement(model: type[Model], condition: sql.Composable) -> sql.Composable:
    fields = list_copied_fields(model)
    return COPY_SQL.format(
        table=sql.Identifier(model._meta.db_table),
        columns=sql.SQL(", ").join(sql.Identifier(str(field.column)) for field in fields),
        values=sql.SQL(", ").join(build_value(model, field) for field in fields),
        condition=condition,
    )


def list_copied_fields(model: type[Model]) -> list[Field]:
    """Return the fields that the clone's rows take from the original: neither computed ones nor numbers of rows."""
    return [
        field
        for field in model._meta.concrete_fields
        if field.column not in (None, "namespace_id")
        and not field.generated
        and field.get_internal_type() != "BigAutoField"
    ]


def build_value(model: type[Model], field: Field) -> sql.Composable:
    column = sql.Identifier(model._meta.db_table, str(field.column))
    if field.db_type(connection) == "uuid":
        return NEW_ID_SQL.format(id=column)
    replaced = [
        NEW_JSON_ID_SQL.format(
            column=column,
            key=sql.Literal(key),
            target=sql.Identifier(RECORD_TYPES[target].table),
            new_id=NEW_ID_SQL.format(id=sql.SQL("({} ->> {})").format(column, sql.Literal(key))),
        )
        for kind, name, key, target in JSON_REFERENCES
        if RECORD_TYPES[kind].model is model and name == field.column
    ]
    return sql.SQL(" || ").join([column, *replaced])
