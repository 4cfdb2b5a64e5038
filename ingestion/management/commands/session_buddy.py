"""`manage.py session_buddy import|export FILE`: what Session-Buddy knows comes in, what was learned here goes out."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from memories import tasks
from sessions_app.commands import EXIT_FAILED, FORMATS, add_namespace_argument, get_namespace
from sessions_app.long_commands import LongCommand
from sessions_app.models import Namespace

# The one package of an extra that a command of ours needs: without it the others, and the help, are still there.
try:
    from ingestion.session_buddy.exporter import SessionBuddyExport
    from ingestion.session_buddy.file import UnusableFile, open_database
    from ingestion.session_buddy.importer import SessionBuddyImport, count_table_rows
    from ingestion.session_buddy.schema import COLLECTION_NAMES, find_tables, select_tables

    INSTALLED = True
except ModuleNotFoundError as error:
    if error.name != "duckdb":
        raise
    INSTALLED = False

MAX_SKIPPED_SHOWN = 20
DUCKDB_MISSING_MESSAGE = (
    "Session-Buddy's files are DuckDB's, which is not installed: python -m pip install 'duckdb>=2,<3' does that."
)
HELP = """Exchange with Session-Buddy's DuckDB files, of the older layout (tables for each collection) and the newer one
(tables ending in _v2).

import: reflections become memories of the type technical_knowledge, conversations such of the type conversation, and
reflections with an insight type become insights. What is known already stays as it is, so that a second import changes
nothing; of an insight that was used more on the other side, the use is taken over. Vectors are made here.

export: every insight goes into the reflections of its collection, known ones once. Where an all-MiniLM-L6-v2 model
serves the namespace they have their vectors with them.

Both may be interrupted and run again, and count what they did. A file that is in use is waited for."""


class Command(LongCommand):
    help = HELP
    item_name = "rows"

    def create_parser(self, *args: Any, **options: Any) -> ArgumentParser:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="import|export")
        for name in ("import", "export"):
            action = actions.add_parser(name)
            action.add_argument("file", type=Path)
            add_namespace_argument(action)
            action.add_argument("--dry-run", action="store_true", help="only count what would be new")
            action.add_argument(
                "--wait", type=parse_seconds, default=30, help="for a file in use (default: %(default)s s)"
            )
            action.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        actions.choices["import"].add_argument(
            "--collection", nargs="+", default=[], help="default: mahavishnu_project mahavishnu_global default"
        )
        actions.choices["export"].add_argument(
            "--layout", choices=("v1", "v2"), default="v1", help="of a file that has none yet (default: %(default)s)"
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
        self, owner: Namespace, *, file: Path, collection: Sequence[str], dry_run: bool, wait: float, **options: Any
    ) -> None:
        work = SessionBuddyImport(owner.pk, self.tell, dry_run=dry_run)
        with open_database(file, reading=True, patience=wait, tell=self.messages.print) as source:
            found = find_tables(source)
            chosen = select_tables(found, collection)
            if not chosen:
                raise UnusableFile(
                    format_no_tables_message(file, sorted({table.collection for table in found}), collection)
                )
            if left := sorted({table.collection for table in found if table not in chosen}):
                self.messages.print(f"Left out: {', '.join(left)}. Choose with --collection.")
            total = count_table_rows(source, chosen)
            for _ in self.track_progress(work.run(source, chosen), total):
                pass
            wrong = work.describe_mismatch(total)
        if not dry_run:
            tasks.embedding_trigger.notify_now()
        if self.skipped > MAX_SKIPPED_SHOWN:
            self.messages.print(f"… {self.skipped:,} rows were skipped.")
        self.print_counts(work.report(), wrong, **options)

    def export_file(
        self, owner: Namespace, *, file: Path, layout: str, dry_run: bool, wait: float, **options: Any
    ) -> None:
        with open_database(file, reading=dry_run, missing_ok=True, patience=wait, tell=self.messages.print) as target:
            work = SessionBuddyExport(owner, target, layout, dry_run=dry_run)
            for _ in self.track_progress(work.run(), work.insights().count()):
                pass
            wrong = None if dry_run else work.describe_mismatch()
        self.print_counts(work.report(), wrong, **options)

    def tell(self, skipped: str) -> None:
        self.skipped += 1
        if self.skipped <= MAX_SKIPPED_SHOWN:
            self.messages.print(skipped)

    def print_counts(self, rows: Iterable[dict[str, Any]], wrong: str | None, *, format: str, **_: Any) -> None:
        self.print_rows(list(rows), format)
        if wrong:
            raise CommandError(wrong, returncode=EXIT_FAILED)


def format_no_tables_message(file: Path, others: Sequence[str], asked: Sequence[str]) -> str:
    there = ", ".join(filter(None, others))
    hint = f" It has those of {there}: choose with --collection." if there else ""
    return f"{file} has no reflections or conversations of {', '.join(asked or COLLECTION_NAMES.values())}.{hint}"


def parse_seconds(text: str) -> float:
    """Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not (isfinite(number) and number >= 0):
        raise ArgumentTypeError("must be a number of seconds, 0 or more")
    return number
