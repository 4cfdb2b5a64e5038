"""What our management commands share: the services they need, a namespace, and one way to print rows."""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError
from psycopg.errors import UndefinedColumn, UndefinedTable
from pydantic import ValidationError
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from memory_site.embedded.running_site import ensure_services_for_command
from sessions_app.bootstrap import DEFAULT_NAMESPACE
from sessions_app.models import Namespace

FORMATS = ("table", "json", "jsonl")
EXIT_FAILED, EXIT_USAGE_ERROR, EXIT_CHECK_FAILED = 1, 2, 3
MAX_CELL_LENGTH = 100
AGE_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
NOT_MIGRATED = "The database is not made for this release: `python manage.py migrate` does that, and `serve` by itself."


class MemoryCommand(BaseCommand):
    """A command that needs the database: embedded services are used when they run, and lent for its time when not.

    Data goes to stdout, all else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 a check found something.
    """

    requires_migrations_checks = False

    def execute(self, *args: object, **options: object) -> object:
        with ensure_services_for_command():
            try:
                return super().execute(*args, **options)
            except OperationalError as error:
                raise CommandError(f"The database does not answer: {first_line(error)}") from error
            except ProgrammingError as error:
                if isinstance(error.__cause__, (UndefinedTable, UndefinedColumn)):
                    raise CommandError(NOT_MIGRATED) from error
                raise

    def print_rows(self, rows: Iterable[Mapping[str, Any]], form: str) -> None:
        """Rows of equal keys as a table for people, one JSON document, or JSON Lines."""
        if form == "jsonl":
            for row in rows:
                self.stdout.write(to_json(row).decode())
        elif form == "json":
            self.stdout.write(to_json(list(rows), indent=2).decode())
        else:
            self.print_table(list(rows))

    def print_table(self, rows: list[Mapping[str, Any]]) -> None:
        if not rows:
            self.stderr.write("Nothing.")
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in rows[0]:
            table.add_column(name, no_wrap=name == "id")  # half an id is of no use to anyone
        for row in rows:
            table.add_row(*[format_cell(value) for value in row.values()])
        # Nobody's screen limits what is piped.
        width = None if sys.stdout.isatty() else 10_000
        console = Console(file=self.stdout, width=width, highlight=False, markup=False)
        console.print(table)


class ListingCommand(MemoryCommand):
    """A command that prints rows, of one namespace."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")


def add_namespace_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--namespace", default=DEFAULT_NAMESPACE, help="default: %(default)s")


def get_namespace(name: str) -> Namespace:
    """The namespace, or a CommandError that names those there are."""
    try:
        return Namespace.objects.get(name=name)
    except Namespace.DoesNotExist:
        known = ", ".join(Namespace.objects.values_list("name", flat=True)[:20]) or "none yet"
        told = f"There is no namespace {name!r} (there are: {known}); create_api_key makes one."
        raise CommandError(told, returncode=EXIT_USAGE_ERROR) from None


def format_validation_error(error: ValidationError) -> str:
    """What is wrong with the values given, on one line."""
    wrong = [(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
    return "; ".join(f"{field}: {message}" if field else message for field, message in wrong)


def format_cell(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= MAX_CELL_LENGTH else f"{text[: MAX_CELL_LENGTH - 1]}…"


def first_line(error: Exception) -> str:
    """The error in one line, without what a driver adds below it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def parse_age(text: str) -> timedelta:
    """What `--older-than` says. Raises CommandError."""
    found = re.fullmatch(r"(\d{1,6})([hdw])", text, re.ASCII)
    if found is None:
        raise CommandError(
            "--older-than is a number with h, d or w behind it, such as 90d.", returncode=EXIT_USAGE_ERROR
        )
    return int(found[1]) * AGE_UNITS[found[2]]
