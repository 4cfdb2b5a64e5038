"""`manage.py cleanup_sessions`: delete the sessions that are over."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from sessions_app.commands import WRONG_USE, MemoryCommand, namespace_named
from sessions_app.models.sessions import LONGEST_TTL_HOURS
from sessions_app.tasks import delete_outdated_sessions, outdated_sessions


class Command(MemoryCommand):
    help = "Delete sessions that nobody has added to for long. Every night does this too; readers never wait for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument("--max-age-hours", type=float, help="default: each session's own time to live")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *, namespace: str | None, max_age_hours: float | None, dry_run: bool, **options: object) -> None:
        if max_age_hours is not None and not 0 < max_age_hours <= LONGEST_TTL_HOURS:
            raise CommandError(
                f"--max-age-hours must be above 0 and at most {LONGEST_TTL_HOURS}.", returncode=WRONG_USE
            )
        chosen = (None if namespace is None else namespace_named(namespace).pk, max_age_hours)
        if dry_run:
            self.stdout.write(f"{outdated_sessions(*chosen).count()} sessions would be deleted.")
        else:
            self.stdout.write(f"{delete_outdated_sessions(*chosen)} sessions were deleted.")
