"""`manage.py cleanup_sessions`: delete expired sessions."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand, get_namespace
from sessions_app.models.sessions import MAX_TTL_HOURS
from sessions_app.tasks import delete_outdated_sessions, find_outdated_sessions


class Command(MemoryCommand):
    help = "Delete expired sessions. A nightly task does the same; readers never wait for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument("--max-age-hours", type=float, help="default: each session's own time to live")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, *, namespace: str | None, max_age_hours: float | None, dry_run: bool, **options: object) -> None:
        if max_age_hours is not None and not 0 < max_age_hours <= MAX_TTL_HOURS:
            raise CommandError(
                f"--max-age-hours must be above 0 and at most {MAX_TTL_HOURS}.", returncode=EXIT_USAGE_ERROR
            )
        namespace_id = None if namespace is None else get_namespace(namespace).pk
        if dry_run:
            count = find_outdated_sessions(namespace_id, max_age_hours).count()
            self.stdout.write(f"{count} sessions would be deleted.")
        else:
            self.stdout.write(f"{delete_outdated_sessions(namespace_id, max_age_hours)} sessions were deleted.")
