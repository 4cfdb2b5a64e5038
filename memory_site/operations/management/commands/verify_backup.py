"""`manage.py verify_backup`: restore backups into a scratch database and compare every row."""

from argparse import ArgumentParser, ArgumentTypeError

from django.core.management.base import CommandError

from memory_site.core.admin.formatting import format_duration
from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.folder import FOREIGN, LATEST, StoredBackup, list_stored
from memory_site.operations.backups.problems import UnknownBackup
from memory_site.operations.backups.verify import CannotVerify, verify_backup
from memory_site.operations.offsite.copies import find_anywhere
from sessions_app.commands import EXIT_CHECK_FAILED, EXIT_FAILED

MAX_JOBS = 64


class Command(BackupCommand):
    help = (
        "Verify a backup: signature, SHA-256, restore into a scratch database, counts and hashes of all rows, "
        "constraints, indexes, sampled searches. Exit code 3 if one is bad."
    )
    interruption_advice = "The state of the backup is what it was."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", default=LATEST, help="default: the latest")
        parser.add_argument("--all", action="store_true", help="verify every backup of this site")
        parser.add_argument(
            "--jobs", type=parse_jobs, metavar="N", help="processes that restore (default: one per processor)"
        )

    def handle(self, *, name: str, jobs: int | None, **options: object) -> None:
        results = self.verify_all(jobs) if options["all"] else [self.verify(self.find(name), jobs)]
        if any(stored is not None and not stored.is_verified for stored in results):
            raise CommandError("A backup is bad.", returncode=EXIT_CHECK_FAILED)
        if None in results:
            raise CommandError("A backup could not be verified.", returncode=EXIT_FAILED)

    def verify_all(self, jobs: int | None) -> list[StoredBackup | None]:
        """Verify every backup. One that cannot be, because it needs an earlier key for example, is None."""
        return [self.try_to_verify(stored, jobs) for stored in self.choose_all()]

    def try_to_verify(self, stored: StoredBackup, jobs: int | None) -> StoredBackup | None:
        try:
            return self.verify(stored, jobs)
        except CannotVerify as error:
            self.stdout.write(f"{stored.name}: not verified. {error}")
            return None

    def find(self, name: str) -> StoredBackup:
        """Return the backup; one that is only at BACKUP_TARGET is fetched."""
        with self.follow_fetching() as on_share:
            return find_anywhere(name, on_share)

    def choose_all(self) -> list[StoredBackup]:
        stored = [each for each in list_stored() if each.state != FOREIGN]
        if not stored:
            raise UnknownBackup("There is no backup; `backup` makes one.")
        return stored

    def verify(self, stored: StoredBackup, jobs: int | None) -> StoredBackup:
        with self.follow_progress():
            verified = verify_backup(stored, jobs=jobs, on_progress=self.note_progress)
        self.stdout.write(f"{verified.name}: {describe(verified)}")
        return verified


def parse_jobs(text: str) -> int:
    """Return the number of processes: pg_restore's refusal of another one must not look like a bad backup."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_JOBS:
        raise ArgumentTypeError(f"must be from 1 to {MAX_JOBS}, not {text!r}")
    return int(text)


def describe(stored: StoredBackup) -> str:
    """Return the result of a verification as one sentence."""
    if not stored.is_verified:
        return f"bad. {stored.message}"
    rows = sum(table["rows"] for table in stored.manifest["tables"].values())
    seconds = format_duration(stored.verification["restore_seconds"])
    return f"verified. {rows:,} rows of {len(stored.manifest['tables'])} tables are equal; restored in {seconds}."
