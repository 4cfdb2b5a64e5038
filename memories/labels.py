"""The distinct values of a label with their counts: page by page, without reading every memory of a namespace.

A column's values are read by jumps through its index, one for each value. Tags have no such index: they are those of
the newest memories.
"""

from functools import partial
from typing import Any, Literal, get_args

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from memories.models import Memory
from memory_site.core.http.pagination import BEFORE, Position

LabelField = Literal[
    "user_id", "agent_id", "workflow_id", "repo_id", "session_id", "source_system", "entity_system", "memory_type",
    "tags",
]  # fmt: skip
LABEL_FIELDS: tuple[str, ...] = get_args(LabelField)
#: A value's memories are counted up to this number, so that a page reads at most a million index entries.
MAX_COUNTED = 10_000
#: Tags are those of so many memories, the newest.
MAX_TAGGED_MEMORIES = 100_000

# The recursion ends with the row without a value that follows the last one; LIMIT ends it earlier.
SELECT_VALUES_SQL = """
WITH RECURSIVE label (value) AS (
    SELECT ({first})::text UNION ALL SELECT ({following})::text FROM label WHERE label.value IS NOT NULL
)
SELECT value, (SELECT count(*) FROM ({rows}) capped) FROM label WHERE value IS NOT NULL LIMIT {limit}
"""
SELECT_TAGS_SQL = """
SELECT value, least(count(*), {max}) FROM ({rows}) newest CROSS JOIN unnest(newest.tags) AS value
WHERE {conditions} GROUP BY value ORDER BY value {order} LIMIT {limit}
"""


def fetch_labels(
    namespace_id: int, field: LabelField, prefix: str, limit: int, direction: str, position: Position | None
) -> list[dict[str, Any]]:
    """Return {value, memories} of the labels behind a position, and of one more than `limit`, by value.

    `memories` counts those that are found, up to MAX_COUNTED + 1.
    """
    fetch = fetch_tags if field == "tags" else partial(fetch_values, field)
    found = fetch(namespace_id, prefix, limit + 1, "<" if direction == BEFORE else ">", position)
    return [{"value": value, "memories": memories} for value, memories in found]


def fetch_values(
    field: str, namespace_id: int, prefix: str, limit: int, operator: str, position: Position | None
) -> list[tuple[str, int]]:
    rows = Memory.objects.in_namespace(namespace_id).filter(**{f"{field}__isnull": False})
    rows = rows.filter(**{f"{field}__startswith": prefix}) if prefix else rows
    first = rows if position is None else filter_beyond(rows, field, operator, position[0])
    following = filter_beyond(rows, field, operator, RawSQL("label.value", ()))
    equal = rows.filter(**{field: RawSQL("label.value", ())}).order_by().values("pk")[: MAX_COUNTED + 1]
    order = f"-{field}" if operator == "<" else field
    queries = [each.order_by(order).values(field)[:1] for each in (first, following)]
    parts, parameters = zip(*(each.query.sql_with_params() for each in (*queries, equal)), strict=True)
    sql = SELECT_VALUES_SQL.format(first=parts[0], following=parts[1], rows=parts[2], limit=limit)
    return fetch_rows(sql, [value for each in parameters for value in each])


def filter_beyond(rows: QuerySet, field: str, operator: str, value: object) -> QuerySet:
    return rows.filter(**{f"{field}__{'lt' if operator == '<' else 'gt'}": value})


def fetch_tags(
    namespace_id: int, prefix: str, limit: int, operator: str, position: Position | None
) -> list[tuple[str, int]]:
    newest = Memory.objects.in_namespace(namespace_id).newest_first().values("tags")[:MAX_TAGGED_MEMORIES]
    rows, parameters = newest.query.sql_with_params()
    conditions, given = ["starts_with(value, %s)"], [prefix]
    if position is not None:
        conditions.append(f"value {operator} %s")
        given.append(position[0])
    sql = SELECT_TAGS_SQL.format(
        rows=rows, conditions=" AND ".join(conditions), order="DESC" if operator == "<" else "ASC",
        limit=limit, max=MAX_COUNTED + 1,
    )  # fmt: skip
    return fetch_rows(sql, [*parameters, *given])


def fetch_rows(sql: str, parameters: list[Any]) -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
