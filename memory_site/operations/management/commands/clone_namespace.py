"""`manage.py clone_namespace NAME NEW`: copy a namespace under another name."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memory_site.operations.namespaces.clone import clone_namespace, count_rows_to_copy
from memory_site.operations.namespaces.names import NamespaceProblem
from sessions_app.commands import EXIT_FAILED, get_namespace, make_printable
from sessions_app.long_commands import LongCommand


class Command(LongCommand):
    help = (
        "Copy a namespace with all its rows and vectors under another name, completely or not at all. The clone has no "
        "API keys; nothing is embedded again."
    )
    item_name = "rows"
    interruption_advice = "Nothing was kept: the clone is made completely or not at all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("new_name")
        parser.add_argument("--dry-run", action="store_true", help="only count the rows")

    def handle(self, *, name: str, new_name: str, dry_run: bool, **options: object) -> None:
        namespace = get_namespace(name)
        total = count_rows_to_copy(namespace.pk)
        if dry_run:
            self.stdout.write(f"{total:,} rows would be copied.")
            return
        try:
            with self.show_progress(total):
                for rows in clone_namespace(namespace, new_name):
                    self.advance(rows)
        except NamespaceProblem as error:
            raise CommandError(f"{error} Nothing was copied.", returncode=EXIT_FAILED) from None
        key = f"create_api_key --namespace {make_printable(new_name)}"
        self.stderr.write(f"{make_printable(new_name)} is a copy of {make_printable(name)}; {key} gives access.")
