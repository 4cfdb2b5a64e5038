"""`manage.py list_backups`: what is in the folder of backups."""

from argparse import ArgumentParser
from typing import Any

from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.folder import get_directory
from memory_site.operations.backups.rows import list_backups
from sessions_app.commands import FORMATS


class Command(BackupCommand):
    help = "List the backups of BACKUP_DIR, youngest first, with their state and size."
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")

    def handle(self, *, format: str, **options: Any) -> None:
        rows = list_backups(get_directory())
        if not rows and format == "table":
            self.stderr.write(f"There is no backup in {get_directory()}; `backup` makes one.")
        else:
            self.print_rows(rows, format)
