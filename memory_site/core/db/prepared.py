"""Statements that the ORM compiles once, to be run with other values: compiling one takes longer than running it."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from psycopg.types.datetime import TimestamptzLoader

#: Values that stand for others while a statement is compiled: they are random, so no other value equals one.
BLANKS: dict[type, Callable[[int], Any]] = {
    int: lambda number: number,
    str: lambda number: f"{number:x}",
    UUID: lambda number: UUID(int=number),
    datetime: lambda number: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=number),
}
BLANK_BITS = 56


class Blank(NamedTuple):
    """A parameter whose value is given later. `adapt` makes of it what the driver gets, such as an 8-byte integer."""

    name: str
    adapt: Callable[[Any], Any]


class PreparedQuery:
    """The SQL of a queryset with a blank for each value. `build` makes the queryset from values of the given types."""

    def __init__(self, build: Callable[..., QuerySet], **types: type) -> None:
        blanks = {name: BLANKS[kind](secrets.randbits(BLANK_BITS)) for name, kind in types.items()}
        self.sql, parameters = build(**blanks).query.sql_with_params()
        self._parameters = [find_blank(value, blanks) or value for value in parameters]
        found = {each.name for each in self._parameters if isinstance(each, Blank)}
        if missing := blanks.keys() - found:
            raise ValueError(f"not in the statement: {', '.join(sorted(missing))}")

    def fetch(self, **values: Any) -> list[tuple]:
        """Run the statement and return its rows as the driver reads them: JSON as text."""
        parameters = [each.adapt(values[each.name]) if isinstance(each, Blank) else each for each in self._parameters]
        return fetch_rows(self.sql, parameters)


def find_blank(value: Any, blanks: dict[str, Any]) -> Blank | None:
    for name, blank in blanks.items():
        if isinstance(value, type(blank)) and value == blank:
            return Blank(name, type(value) if type(value) is not type(blank) else lambda given: given)
    return None


def fetch_rows(sql: str, parameters: Sequence[Any] | dict[str, Any]) -> list[tuple]:
    """Return the rows of a statement as the driver reads them.

    Django reads times in Python, 9 µs each; connections are in UTC, so the driver's own way gives the same.
    """
    with connection.cursor() as cursor:
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(sql, parameters)
        return cursor.fetchall()
