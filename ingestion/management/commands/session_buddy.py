"""`manage.py session_buddy import|export FILE`: exchange memories and insights with Session-Buddy."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from math import isfinite
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError, CommandParser

from memories import tasks
from sessions_app.commands import EXIT_FAILED, FORMATS, add_namespace_argument, get_namespace
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

# An optional package: without it, the command's help and all other commands still work.
try:
    from ingestion.session_buddy.exporter import SessionBuddyExport
    from ingestion.session_buddy.file import UnusableFile, open_database
    from ingestion.session_buddy.importer import SessionBuddyImport, count_table_rows
    from ingestion.session_buddy.schema import COLLECTION_NAMES, Layout, find_tables, select_tables
    from ingestion.session_buddy.times import get_machine_timezone

    INSTALLED = True
except ModuleNotFoundError as error:
    if error.name != "duckdb":
        raise
    INSTALLED = False

MAX_SKIPPED_SHOWN = 20
DUCKDB_MISSING_MESSAGE = (
    "Session-Buddy's files need DuckDB, which is not installed. Install it: python -m pip install 'duckdb>=2,<3'"
)
HELP = """Exchange memories and insights with Session-Buddy's DuckDB files, of the older layout (tables for each
collection) and the newer one (tables ending in _v2).

import: reflections become memories of type technical_knowledge, conversations become memories of type conversation,
and reflections with an insight type become insights. Existing ones stay as they are, so that a second import changes
nothing; only a greater use count of an insight is taken over. Vectors are not imported but computed.

export: every insight is written once to the reflections of its collection. If the namespace's model is
all-MiniLM-L6-v2, vectors are written too.

The times of a file have no offset: they are those of this machine's zone, or of the one that --timezone names. A time
at most a day ahead is imported as now.

Both print counts, and may be interrupted and run again. The import ends with exit code 1 when it left rows out. A file
that another process has locked is waited for."""


class Command(LongCommand):
    help = HELP
    item_name = "rows"

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="import|export")
        for name in ("import", "export"):
            action = actions.add_parser(name)
            action.add_argument("file", type=Path)
            add_namespace_argument(action)
            action.add_argument("--dry-run", action="store_true", help="only count what would be new")
            action.add_argument(
                "--wait",
                type=parse_seconds,
                default=30,
                help="seconds to wait for a locked file (default: %(default)s)",
            )
            action.add_argument(
                "--timezone",
                type=parse_timezone,
                metavar="NAME",
                help="zone of the file's times, such as Europe/Berlin; default: the zone of this machine",
            )
            action.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        actions.choices["import"].add_argument(
            "--collection", nargs="+", default=[], help="default: mahavishnu_project mahavishnu_global default"
        )
        actions.choices["export"].add_argument(
            "--layout", choices=("v1", "v2"), default="v1", help="layout of a new file (default: %(default)s)"
        )

    def handle(self, *, action: str, namespace: str, **options: Any) -> None:
        if not INSTALLED:
            raise CommandError(DUCKDB_MISSING_MESSAGE, returncode=EXIT_FAILED)
        self.skipped = 0
        try:
            (self.import_file if action == "import" else self.export_file)(get_namespace(namespace), **options)
        except UnusableFile as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None

    def import_file(
        self,
        target: Namespace,
        *,
        file: Path,
        collection: Sequence[str],
        dry_run: bool,
        wait: float,
        timezone: tzinfo | None,
        **options: Any,
    ) -> None:
        zone = timezone or get_machine_timezone()
        work = SessionBuddyImport(target.pk, self.report_skipped, timezone=zone, dry_run=dry_run)
        with open_database(file, reading=True, timeout=wait, report=self.messages.print) as source:
            tables = find_tables(source)
            selected = select_tables(tables, collection)
            if not selected:
                others = sorted({table.collection for table in tables})
                raise UnusableFile(format_no_tables_message(file, others, collection))
            if others := sorted({table.collection for table in tables if table not in selected}):
                self.messages.print(f"Not imported: {', '.join(others)}. Select collections with --collection.")
            total = count_table_rows(source, selected)
            for _ in self.track_progress(work.run(source, selected), total):
                pass
            mismatch = work.describe_mismatch(total)
        if not dry_run:
            tasks.embedding_trigger.notify_now()
        if self.skipped > MAX_SKIPPED_SHOWN:
            self.messages.print(f"… {self.skipped:,} rows were skipped.")
        self.print_counts(work.report(), mismatch, **options)

    def export_file(
        self,
        source: Namespace,
        *,
        file: Path,
        layout: "Layout",
        dry_run: bool,
        wait: float,
        timezone: tzinfo | None,
        **options: Any,
    ) -> None:
        zone = timezone or get_machine_timezone()
        with open_database(file, reading=dry_run, missing_ok=True, timeout=wait, report=self.messages.print) as target:
            work = SessionBuddyExport(source, target, layout, timezone=zone, dry_run=dry_run)
            for _ in self.track_progress(work.run(), work.get_insights().count()):
                pass
            mismatch = None if dry_run else work.describe_mismatch()
        self.print_counts(work.report(), mismatch, **options)

    def report_skipped(self, message: str) -> None:
        self.skipped += 1
        if self.skipped <= MAX_SKIPPED_SHOWN:
            self.messages.print(message)

    def print_counts(self, rows: Iterable[dict[str, Any]], mismatch: str | None, *, format: str, **_: Any) -> None:
        self.print_rows(list(rows), format)
        if mismatch:
            raise CommandError(mismatch, returncode=EXIT_FAILED)
        if self.skipped:
            raise CommandError(f"Rows left out: {self.skipped:,}. The reasons are above.", returncode=EXIT_FAILED)


def format_no_tables_message(file: Path, others: Sequence[str], requested: Sequence[str]) -> str:
    names = ", ".join(filter(None, others))
    hint = f" It has those of {names}: select them with --collection." if names else ""
    return f"{file} has no reflections or conversations of {', '.join(requested or COLLECTION_NAMES.values())}.{hint}"


def parse_timezone(name: str) -> ZoneInfo:
    """Return the zone of this name. Raises ArgumentTypeError."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ArgumentTypeError("must be the name of a time zone, such as Europe/Berlin or UTC") from None


def parse_seconds(text: str) -> float:
    """Parse a number of seconds, 0 or more. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not (isfinite(number) and number >= 0):
        raise ArgumentTypeError("must be a number of seconds, 0 or more")
    return number
