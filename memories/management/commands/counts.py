"""`manage.py counts`: count memories by type, by user, or by both."""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Count, Max, Q

from memories.models import Memory
from sessions_app.commands import ListingCommand, get_namespace

GROUP_COLUMNS = {"type": "memory_type", "user": "user_id"}
NO_USER, TOTAL = "(no user)", "total"
SUMMED_COLUMNS = ("memories", "embedded")


class Command(ListingCommand):
    help = "Count memories by type or by user, or by both: --by user type. A table ends with the total."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--by", choices=GROUP_COLUMNS, nargs="+", default=["type"], help="default: type")

    def handle(self, *, namespace: str, by: list[str], format: str, **options: object) -> None:
        columns = [GROUP_COLUMNS[name] for name in dict.fromkeys(by)]
        rows = Memory.objects.in_namespace(get_namespace(namespace).pk).values(*columns)
        counted = rows.annotate(
            memories=Count("pk"), embedded=Count("pk", filter=Q(due=None)), newest=Max("created_at")
        )
        self.print_rows(counted.order_by("-memories", *columns), format)

    def print_table(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Print words where the JSON formats have null, and the total below."""
        shown = [{**row, "user_id": row["user_id"] or NO_USER} if "user_id" in row else dict(row) for row in rows]
        super().print_table([*shown, sum_up(shown)] if shown else [])


def sum_up(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the totals, with its name in the first column."""
    first, *others = rows[0]
    sums = {name: sum(row[name] for row in rows) for name in SUMMED_COLUMNS}
    return {first: TOTAL} | dict.fromkeys(others) | sums | {"newest": max(row["newest"] for row in rows)}
