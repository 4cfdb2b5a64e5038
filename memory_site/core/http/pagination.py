"""Cursor pages by keyset: stable under inserts, and as fast on the thousandth page as on the first."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from memory_site.core.http.fields import check_storable
from memory_site.core.http.problems import invalid_field

AFTER, BEFORE = "after", "before"
Position = tuple[Any, ...]


@dataclass(frozen=True)
class Keyset:
    """The order of a list: by one field whose values are unique, or by two that are unique together.

    `parse` makes a position of the values in a cursor, and raises ValueError, TypeError or AttributeError for others.
    """

    fields: tuple[str, ...]
    parse: Callable[..., Position]
    descending: bool = False


def parse_moment_and_id(moment: str, pk: str) -> Position:
    """Raise ValueError unless the moment has a time zone."""
    if (when := datetime.fromisoformat(moment)).tzinfo is None:
        raise ValueError
    return when, UUID(pk)


def parse_text(text: str) -> Position:
    """Raise ValueError for a text that PostgreSQL cannot store."""
    if not isinstance(text, str):
        raise TypeError
    return (check_storable(text),)


BY_CREATED_AT = Keyset(("created_at", "id"), parse_moment_and_id, descending=True)


def paginate(
    rows: QuerySet,
    columns: Sequence[str],
    limit: int,
    cursor: str | None,
    shape: Callable[[dict], dict],
    *,
    moment: str = "created_at",
    oldest_first: bool = False,
) -> dict[str, Any]:
    """Return one page of `rows` (values of `columns`, `moment` and id among them), newest first unless `oldest_first`.

    Raises Problem 422 for an invalid cursor.
    """
    keyset = Keyset((moment, "id"), parse_moment_and_id, descending=not oldest_first)
    return paginate_by(keyset, rows.values(*columns), limit, cursor, shape)


def paginate_by(
    keyset: Keyset, rows: QuerySet, limit: int, cursor: str | None, shape: Callable[[dict], dict]
) -> dict[str, Any]:
    """Return one page of `rows`, dictionaries with the fields of the keyset. Raises Problem 422 for a bad cursor."""

    def fetch(direction: str, position: Position | None) -> list[dict]:
        return list(select_page(keyset, rows, limit, direction, position))

    return build_page(keyset, limit, cursor, shape, fetch)


def select_page(keyset: Keyset, rows: QuerySet, limit: int, direction: str, position: Position | None) -> QuerySet:
    """Select the rows behind the position, or from the start, in this direction, and one more than `limit`."""
    descending = keyset.descending == (direction == AFTER)
    if position is not None:
        rows = rows.filter(build_keyset_filter(keyset.fields, position, descending))
    return rows.order_by(*(f"-{field}" if descending else field for field in keyset.fields))[: limit + 1]


def build_page(
    keyset: Keyset,
    limit: int,
    cursor: str | None,
    shape: Callable[[dict], dict],
    fetch: Callable[[str, Position | None], list[dict]],
) -> dict[str, Any]:
    """Return one page of the rows that `fetch` returns for a direction and a position, as those of `select_page`."""
    direction, position = decode_cursor(cursor, keyset) if cursor else (AFTER, None)
    found = fetch(direction, position)
    more, found = len(found) > limit, found[:limit]
    if direction == BEFORE:
        found.reverse()
    has_next = bool(found) and (more if direction == AFTER else True)
    has_previous = bool(found) and (cursor is not None if direction == AFTER else more)
    following = encode_cursor(AFTER, found[-1], keyset) if has_next else None
    previous = encode_cursor(BEFORE, found[0], keyset) if has_previous else None
    return {"results": [shape(row) for row in found], "next": following, "previous": previous}


def build_keyset_filter(fields: tuple[str, ...], position: Position, descending: bool) -> Q:
    """Select the rows behind a position. Of two fields, the first condition is the one that an index can use."""
    beyond = "lt" if descending else "gt"
    first, *ties = (Q((f"{field}__{beyond}", value)) for field, value in zip(fields, position, strict=True))
    return Q((f"{fields[0]}__{beyond}e", position[0])) & (first | ties[0]) if ties else first


def encode_cursor(direction: str, row: dict[str, Any], keyset: Keyset = BY_CREATED_AT) -> str:
    values = [row[field] for field in keyset.fields]
    parts = [direction, *(each.isoformat() if isinstance(each, datetime) else str(each) for each in values)]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, keyset: Keyset = BY_CREATED_AT) -> tuple[str, Position]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        direction, *values = json.loads(base64.urlsafe_b64decode(padded))
        if direction not in (AFTER, BEFORE):
            raise ValueError
        return direction, keyset.parse(*values)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise invalid_field("cursor", "is not one this server gave out") from error
