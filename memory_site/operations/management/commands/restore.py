"""`manage.py restore`: put a backup in the place of the site's database, or beside it."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memory_site.core.admin.formatting import format_duration
from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.database import drop_database, get_database_name
from memory_site.operations.backups.folder import StoredBackup, list_stored
from memory_site.operations.backups.problems import DamagedBackup
from memory_site.operations.erasures.sources import load_all_erasures, note_erasures
from memory_site.operations.offsite.copies import find_anywhere
from memory_site.operations.restore.checks import (
    RestoreRefused,
    check_backup,
    check_rights,
    check_space,
    check_target,
)
from memory_site.operations.restore.databases import DROP_COMMAND, list_kept
from memory_site.operations.restore.restoration import Restoration, Restored
from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR


class Command(BackupCommand):
    help = (
        "Restore a backup into a new database, compare every row, repeat what was erased since, and give it the place "
        "of the site's database, which stays under another name. The site may run meanwhile. A database with rows is "
        "replaced only if --replace names it."
    )
    interruption_advice = "The site's database is what it was."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="of the backup, as list_backups shows it, or latest")
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--replace", metavar="DATABASE", help="the site's database, although it has rows")
        place.add_argument("--into", metavar="DATABASE", help="a new database beside the site's")
        place.add_argument("--drop", metavar="DATABASE", help="drop a database that a restore has replaced")

    def handle(self, *, name: str | None, replace: str | None, into: str | None, drop: str | None, **_: object) -> None:
        if (name is None) == (drop is None):
            raise CommandError("Name a backup, or a database to --drop.", returncode=EXIT_USAGE_ERROR)
        try:
            if drop is not None:
                self.drop(drop)
            else:
                self.restore(str(name), replace, into)
        except RestoreRefused as error:
            raise CommandError(str(error), returncode=EXIT_USAGE_ERROR) from None
        except DamagedBackup as error:
            raise CommandError(f"{error}{advise_another(str(error))}", returncode=EXIT_FAILED) from None

    def drop(self, name: str) -> None:
        """Drop a database that a restore has replaced, and no other."""
        kept = {database.name: database for database in list_kept()}
        if name not in kept:
            raise RestoreRefused(
                f"No restore has replaced a database {name!r} (there are: {', '.join(kept) or 'none'})."
            )
        drop_database(name)
        self.stdout.write(f"Dropped {name}.")

    def restore(self, name: str, replace: str | None, into: str | None) -> None:
        live = get_database_name()
        check_target(live, into, replace)
        stored = self.find(name)
        check_backup(stored)
        check_space(stored)
        if into is None:
            check_rights(live)
        load_all_erasures(live)  # before the work: a ledger that cannot be read is a reason not to begin
        restoration = Restoration(
            stored, live, into, lambda: load_all_erasures(live), note_erasures, on_progress=self.note_progress
        )
        with self.follow_progress():
            restored = restoration.run()
            self.interruption_advice = "The backup is restored."
        self.report(stored, restored)

    def find(self, name: str) -> StoredBackup:
        """Return the backup; one that is only at BACKUP_TARGET is fetched."""
        with self.follow_fetching() as on_share:
            return find_anywhere(name, on_share)

    def report(self, stored: StoredBackup, restored: Restored) -> None:
        tables = stored.manifest["tables"]
        rows = sum(table["rows"] for table in tables.values())
        self.stdout.write(
            f"{stored.name} is in the database {restored.database}: {rows:,} rows of {len(tables)} tables were equal, "
            f"in {format_duration(restored.seconds)}."
        )
        if restored.migrations:
            self.stdout.write(f"It was migrated forward from {stored.manifest['product']}.")
        if restored.erased_again:
            self.stdout.write(f"{describe_erasures(restored.erased_again)} repeated.")
        if restored.kept:
            self.stdout.write(
                f"The database before it is {restored.kept}. To drop it: {DROP_COMMAND.format(restored.kept)}"
            )


def advise_another(message: str) -> str:
    """Return a sentence about the newest verified backup that the message does not name; nothing if there is none."""
    names = [each.name for each in list_stored() if each.is_verified and each.name not in message]
    return f" The newest verified one is {names[0]}." if names else ""


def describe_erasures(number: int) -> str:
    return "1 erasure that came after it was" if number == 1 else f"{number:,} erasures that came after it were"
