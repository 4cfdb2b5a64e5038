"""`manage.py summaries [PATTERN]`: list the summaries that a regular expression matches."""

from argparse import ArgumentParser

from django.core.management.base import CommandError
from django.db import DataError

from memories.models import Memory
from sessions_app.commands import EXIT_USAGE_ERROR, ListingCommand, get_namespace

SUMMARY_COLUMNS = ("id", "created_at", "memory_type", "user_id", "summary")


class Command(ListingCommand):
    help = (
        "List summaries, newest first, without those of documents, which are their names. PATTERN is a regular "
        "expression of PostgreSQL; case does not matter."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("pattern", nargs="?", default="")
        parser.add_argument("--limit", type=int, default=100, help="default: 100")

    def handle(self, *, namespace: str, pattern: str, limit: int, format: str, **options: object) -> None:
        memories = (
            Memory.objects.in_namespace(get_namespace(namespace).pk).filter(document_id=None).exclude(summary=None)
        )
        rows = memories.filter(summary__iregex=pattern).newest_first().values(*SUMMARY_COLUMNS)
        try:
            self.print_rows(list(rows[: max(limit, 0)]), format)
        except DataError as error:
            raise CommandError(f"Not a regular expression: {pattern}", returncode=EXIT_USAGE_ERROR) from error
