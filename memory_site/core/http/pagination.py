"""Cursor pages over rows ordered by a moment: stable under inserts, as fast on the thousandth page as on the first."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from memory_site.core.http.problems import invalid_field

AFTER, BEFORE = "after", "before"
OPPOSITE = {AFTER: BEFORE, BEFORE: AFTER}


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
    """One page of `rows` (values of `columns`, `moment` and id among them), newest first unless `oldest_first`.

    Raises Problem 422 for a bad cursor.
    """
    direction, when, pk = decode_cursor(cursor) if cursor else (AFTER, None, None)
    way = OPPOSITE[direction] if oldest_first else direction
    if when is not None:
        rows = rows.filter(build_keyset_filter(way, when, pk, moment))
    order = (f"-{moment}", "-id") if way == AFTER else (moment, "id")
    found = list(rows.order_by(*order).values(*columns)[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if direction == BEFORE:
        found.reverse()
    has_next = bool(found) and (more if direction == AFTER else True)
    has_previous = bool(found) and (cursor is not None if direction == AFTER else more)
    following = encode_cursor(AFTER, found[-1], moment) if has_next else None
    previous = encode_cursor(BEFORE, found[0], moment) if has_previous else None
    return {"results": [shape(row) for row in found], "next": following, "previous": previous}


def build_keyset_filter(way: str, when: datetime, pk: UUID, moment: str = "created_at") -> Q:
    """Rows on the far side of one row, where what is older comes after; the first condition is the one an index can
    use."""
    if way == AFTER:
        return Q((f"{moment}__lte", when)) & (Q((f"{moment}__lt", when)) | Q(id__lt=pk))
    return Q((f"{moment}__gte", when)) & (Q((f"{moment}__gt", when)) | Q(id__gt=pk))


def encode_cursor(direction: str, row: dict[str, Any], moment: str = "created_at") -> str:
    parts = [direction, row[moment].isoformat(), str(row["id"])]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[str, datetime, UUID]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        direction, moment, pk = json.loads(base64.urlsafe_b64decode(padded))
        if direction not in (AFTER, BEFORE) or (when := datetime.fromisoformat(moment)).tzinfo is None:
            raise ValueError
        return direction, when, UUID(pk)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise invalid_field("cursor", "is not one this server gave out") from error
