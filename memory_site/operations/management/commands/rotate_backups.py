"""`manage.py rotate_backups`: delete old backups, and pin those that stay."""

from argparse import ArgumentParser

from django.conf import settings

from memory_site.core.admin.formatting import format_size
from memory_site.operations.backups.commands import BackupCommand
from memory_site.operations.backups.pins import set_pinned
from memory_site.operations.backups.rotate import get_retention, rotate_backups
from memory_site.operations.offsite.work import rotate_copies


class Command(BackupCommand):
    help = (
        "Delete backups older than BACKUP_RETENTION_DAYS, except a verified one of each of the last weeks and months. "
        "The newest verified backup and pinned ones always stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--pin", metavar="NAME", help="keep this backup whatever its age; delete nothing")
        choice.add_argument("--unpin", metavar="NAME", help="let it be deleted in its time; delete nothing")

    def handle(self, *, dry_run: bool, pin: str | None, unpin: str | None, **options: object) -> None:
        name = unpin if pin is None else pin
        if name is not None:  # an empty one is unknown, and no reason to delete anything
            row = set_pinned(name, pin is not None)
            self.stdout.write(f"{row.name} is {'pinned' if row.pinned else 'no longer pinned'}.")
            return
        deleted = rotate_backups(dry_run=dry_run)
        copies = rotate_copies(dry_run=dry_run) if settings.BACKUP_TARGET else []
        for stored in deleted:
            self.stdout.write(f"{stored.name}  {stored.state}  {format_size(stored.size_bytes or 0)}")
        if copies:
            self.stdout.write(f"Off-site: {', '.join(copy.name for copy in copies)}")
        retention = get_retention()
        done = "would be deleted" if dry_run else "were deleted"
        self.stderr.write(
            f"{len(deleted)} backups {done}. Kept are {retention.days} days, {retention.weeks} weeks, "
            f"{retention.months} months."
        )
