"""Orders by any column: exact up to MAX_SORTED_ROWS, beyond that among the newest so many.

An index for each column would slow every store down, and sorting a million wide rows takes seconds.
"""

from django.db.models import F, OrderBy, QuerySet
from django.db.models.expressions import BaseExpression

from memory_site.core.admin.formatting import format_number

MAX_SORTED_ROWS = 10_000
SORT_NOTE = f"Sorted among the first {format_number(MAX_SORTED_ROWS)} of the usual order: filter the list to sort all."


def put_nulls_last(order: str | BaseExpression) -> str | BaseExpression:
    """Return the order with empty values at the end, in both directions."""
    if isinstance(order, str):
        order = F(order.removeprefix("-")).desc() if order.startswith("-") else F(order).asc()
    if isinstance(order, OrderBy):
        return OrderBy(order.expression, descending=order.descending, nulls_last=True)
    return order


def bound_sort(rows: QuerySet, usual_order: str) -> tuple[QuerySet, bool]:
    """Return the rows, or the first MAX_SORTED_ROWS by the usual order if there are more, and whether there are.

    `usual_order` is a column with an index, such as "-created_at".
    """
    column = usual_order.removeprefix("-")
    last = list(rows.order_by(usual_order).values_list(column, flat=True)[MAX_SORTED_ROWS - 1 : MAX_SORTED_ROWS + 1])
    if len(last) < 2:
        return rows, False
    direction = "gte" if usual_order.startswith("-") else "lte"
    return rows.filter(**{f"{column}__{direction}": last[0]}), True
