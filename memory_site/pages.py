"""Cursor pages over rows ordered newest first: stable under inserts, as fast on the thousandth page as on the first."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from memory_site.problems import invalid

AFTER, BEFORE = "after", "before"


def page(
    rows: QuerySet, columns: Sequence[str], limit: int, cursor: str | None, shape: Callable[[dict], dict]
) -> dict[str, Any]:
    """One page of `rows` (values of `columns`, created_at and id among them). Raises Problem 422 for a bad cursor."""
    direction, moment, pk = decoded(cursor) if cursor else (AFTER, None, None)
    if moment is not None:
        rows = rows.filter(beyond(direction, moment, pk))
    order = ("-created_at", "-id") if direction == AFTER else ("created_at", "id")
    found = list(rows.order_by(*order).values(*columns)[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if direction == BEFORE:
        found.reverse()
    has_next = bool(found) and (more if direction == AFTER else True)
    has_previous = bool(found) and (cursor is not None if direction == AFTER else more)
    ends = [encoded(AFTER, found[-1]) if has_next else None, encoded(BEFORE, found[0]) if has_previous else None]
    return {"results": [shape(row) for row in found], "next": ends[0], "previous": ends[1]}


def beyond(direction: str, moment: datetime, pk: UUID) -> Q:
    """Rows on the far side of one row; the first condition is the one an index can use."""
    if direction == AFTER:
        return Q(created_at__lte=moment) & (Q(created_at__lt=moment) | Q(id__lt=pk))
    return Q(created_at__gte=moment) & (Q(created_at__gt=moment) | Q(id__gt=pk))


def encoded(direction: str, row: dict[str, Any]) -> str:
    parts = [direction, row["created_at"].isoformat(), str(row["id"])]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decoded(cursor: str) -> tuple[str, datetime, UUID]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        direction, moment, pk = json.loads(base64.urlsafe_b64decode(padded))
        if direction not in (AFTER, BEFORE) or (when := datetime.fromisoformat(moment)).tzinfo is None:
            raise ValueError
        return direction, when, UUID(pk)
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise invalid("cursor", "is not one this server gave out") from error
