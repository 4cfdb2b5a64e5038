"""`manage.py backup`: make a backup of the database."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import CommandError

from memory_site.core.admin.formatting import format_duration
from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.make import make_backup
from memory_site.operations.backups.verify import verify_backup
from memory_site.operations.offsite.target import OffsiteProblem
from memory_site.operations.offsite.work import copy_due_backups
from sessions_app.commands import EXIT_CHECK_FAILED


class Command(BackupCommand):
    help = (
        "Make a backup of the whole database in BACKUP_DIR while the site goes on. It counts as a backup once "
        "`verify_backup` has restored and compared it; --verify does both."
    )
    interruption_advice = "Nothing of the backup is left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--verify", action="store_true", help="verify it as well")
        parser.add_argument("--pin", action="store_true", help="keep it whatever its age")

    def handle(self, *, verify: bool, pin: bool, **options: object) -> None:
        with self.follow_progress():
            stored = make_backup(pinned=pin, on_progress=self.note_progress)
        if verify:
            self.interruption_advice = "The backup is there; `verify_backup` verifies it."
            with self.follow_progress():
                stored = verify_backup(stored, on_progress=self.note_progress)
        self.stdout.write(str(stored.path))
        if stored.problem or stored.message:
            raise CommandError(stored.message, returncode=EXIT_CHECK_FAILED)
        if verify:
            restored = format_duration(stored.verification["restore_seconds"])
            self.stderr.write(f"Verified: restored in {restored}, every row compared.")
        else:
            self.stderr.write(f"It is not verified yet: python manage.py verify_backup {stored.name}")
        self.copy()

    def copy(self) -> None:
        """Copy what BACKUP_TARGET lacks. The backup is good, whatever becomes of its copy."""
        if settings.BACKUP_TARGET is None:
            return
        self.interruption_advice = "The backup is there; a worker copies it within ten minutes."
        try:
            with self.follow_progress():
                copied = copy_due_backups(self.note_progress)
        except OffsiteProblem as error:
            raise CommandError(f"The backup is there, its copy is not: {error}") from None
        self.stderr.write(f"Copied off-site: {', '.join(each.name for each in copied) or 'nothing new'}.")
