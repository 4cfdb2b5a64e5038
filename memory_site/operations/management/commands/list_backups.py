"""`manage.py list_backups`: what is in the folder of backups."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from memory_site.core.admin.formatting import format_size
from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.folder import get_directory
from memory_site.operations.backups.rows import list_backups
from memory_site.operations.offsite.copies import list_offsite, open_target
from memory_site.operations.restore.databases import DROP_COMMAND, list_kept
from sessions_app.commands import FORMATS


class Command(BackupCommand):
    help = "List the backups of BACKUP_DIR, youngest first, with their state and size."
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        parser.add_argument("--offsite", action="store_true", help="those at BACKUP_TARGET instead")

    def handle(self, *, format: str, offsite: bool, **options: Any) -> None:
        rows = list_offsite() if offsite else list_backups(get_directory())
        if not rows and format == "table":
            where = open_target().url if offsite else get_directory()
            copies = "" if offsite or settings.BACKUP_TARGET is None else ", `list_backups --offsite` shows the copies"
            self.stderr.write(f"There is no backup in {where}; `backup` makes one{copies}.")
        else:
            self.print_rows(rows, format)
        if not offsite:
            self.report_kept()

    def report_kept(self) -> None:
        """Name the databases that restores have replaced: they take space until they are dropped."""
        for database in list_kept():
            size = format_size(database.size_bytes)
            self.stderr.write(f"{database.name}, before a restore, {size}: {DROP_COMMAND.format(database.name)}")
