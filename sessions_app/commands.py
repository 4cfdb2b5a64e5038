"""Base classes of the management commands: services, a namespace option, and printing of rows."""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import InternalError, NotSupportedError, OperationalError, ProgrammingError
from psycopg.errors import InsufficientPrivilege, UndefinedColumn, UndefinedTable
from pydantic import ValidationError
from pydantic_core import to_json

from memory_site.core.db.actor import acting_as
from memory_site.core.db.damage import DAMAGED, is_damaged
from memory_site.core.db.server_settings import POOLER_ADVICE, REFUSED_OPTIONS
from memory_site.core.releases.compatibility import NewerDatabase, require_fitting_release
from memory_site.embedded.running_site import ensure_services_for_command
from sessions_app.bootstrap import DEFAULT_NAMESPACE
from sessions_app.models import Namespace

FORMATS = ("table", "json", "jsonl")
EXIT_FAILED, EXIT_USAGE_ERROR, EXIT_CHECK_FAILED = 1, 2, 3
AGE_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
NOT_MIGRATED = (
    "The database is not migrated to this release. Run `python manage.py migrate`; `serve` does it on its own."
)


class MemoryCommand(BaseCommand):
    """A command that needs the database. Embedded services that are not running are started while it runs.

    Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage error, 3 a check failed.
    """

    requires_migrations_checks = False
    # They would import the API and the console, which takes longer than most commands; `check` and `serve` run them.
    requires_system_checks = []
    #: Whether it uses tables that a newer release may have changed.
    needs_fitting_release = True
    #: Of a table's cell; None shows all of it.
    max_cell_length: int | None = 100

    @property
    def name(self) -> str:
        return type(self).__module__.rpartition(".")[2]

    def provide_services(self) -> AbstractContextManager[None]:
        """Return what surrounds the command. One that works without a database starts nothing."""
        return ensure_services_for_command()

    def execute(self, *args: Any, **options: Any) -> str | None:
        with self.provide_services(), acting_as(f"command:{self.name}"):
            try:
                if self.needs_fitting_release:
                    require_fitting_release()
                return super().execute(*args, **options)
            except NewerDatabase as error:
                raise CommandError(str(error)) from error
            except OperationalError as error:
                raise CommandError(f"The database does not answer: {get_first_line(error)}") from error
            except NotSupportedError as error:  # it is older than MIN_POSTGRESQL_VERSION
                raise CommandError(f"The database cannot be used: {get_first_line(error)}") from error
            except InternalError as error:
                if is_damaged(error):
                    raise CommandError(f"{DAMAGED} ({get_first_line(error)})") from error
                raise
            except ProgrammingError as error:
                if isinstance(error.__cause__, (UndefinedTable, UndefinedColumn)):
                    raise CommandError(NOT_MIGRATED) from error
                if isinstance(error.__cause__, InsufficientPrivilege):
                    raise CommandError(f"The site's role has too few rights: {get_first_line(error)}.") from error
                raise

    def print_rows(self, rows: Iterable[Mapping[str, Any]], output_format: str) -> None:
        """Print rows of equal keys as a table, one JSON document, or JSON Lines; `output_format` is one of FORMATS."""
        if output_format == "jsonl":
            for row in rows:
                self.stdout.write(to_json(row).decode())
        elif output_format == "json":
            self.stdout.write(to_json(list(rows), indent=2).decode())
        else:
            self.print_table(list(rows))

    def print_table(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            self.stderr.write("Nothing.")
            return
        from rich.console import Console  # noqa: PLC0415  (40 ms of every command's start)
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in rows[0]:
            table.add_column(name, no_wrap=name == "id")  # part of an id is of no use
        for row in rows:
            table.add_row(*[format_cell(value, self.max_cell_length) for value in row.values()])
        # Piped output is not cut to the width of a terminal.
        width = None if sys.stdout.isatty() else 10_000
        console = Console(file=cast(IO[str], self.stdout), width=width, highlight=False, markup=False)
        console.print(table)


class ListingCommand(MemoryCommand):
    """A command that prints rows of one namespace."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")


def add_namespace_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--namespace", default=DEFAULT_NAMESPACE, help="default: %(default)s")


def get_namespace(name: str) -> Namespace:
    """Return the namespace, or raise CommandError with the names of the existing ones."""
    try:
        return Namespace.objects.get(name=name)
    except Namespace.DoesNotExist:
        known = make_printable(", ".join(Namespace.objects.values_list("name", flat=True)[:20])) or "none yet"
        message = f"There is no namespace {name!r} (existing: {known}); create_api_key creates one."
        raise CommandError(message, returncode=EXIT_USAGE_ERROR) from None


def format_validation_error(error: ValidationError) -> str:
    """Return all errors on one line."""
    errors = [(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
    return "; ".join(f"{field}: {message}" if field else message for field, message in errors)


def format_cell(value: Any, max_length: int | None) -> str:
    if isinstance(value, datetime):
        value = value.isoformat(" ", "seconds")
    text = make_printable(" ".join(("" if value is None else str(value)).split()))
    return text if max_length is None or len(text) <= max_length else f"{text[: max_length - 1]}…"


def make_printable(text: str) -> str:
    """Replace what a terminal would obey: callers store any character, and an escape sequence could hide a row."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def get_first_line(error: Exception) -> str:
    """Return the first line of an error, without the details that a driver adds below it; at most 300 characters."""
    if REFUSED_OPTIONS in str(error):
        return POOLER_ADVICE
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def parse_age(text: str, option: str = "--older-than") -> timedelta:
    """Return the duration that an option gives. Raise CommandError."""
    match = re.fullmatch(r"(\d{1,6})([hdw])", text, re.ASCII)
    if match is None:
        raise CommandError(
            f"{option} must be a number followed by h, d or w, such as 90d.", returncode=EXIT_USAGE_ERROR
        )
    return int(match[1]) * AGE_UNITS[match[2]]
