"""`manage.py prune_insights`: delete the insights that nobody will miss."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memories.insights.retention import DEFAULT_MIN_QUALITY, get_prunable_insights, prune
from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand, get_namespace, parse_age


class Command(MemoryCommand):
    help = "Delete insights that are old, of little quality and were never used. Every week does this too."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument(
            "--older-than", metavar="AGE", default="90d", help="such as 90d or 12w; default: %(default)s"
        )
        parser.add_argument(
            "--min-quality", type=float, default=DEFAULT_MIN_QUALITY, help="below it; default: %(default)s"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(
        self, *, namespace: str | None, older_than: str, min_quality: float, dry_run: bool, **options: object
    ) -> None:
        if not 0 <= min_quality <= 1:
            raise CommandError("--min-quality must lie between 0 and 1.", returncode=EXIT_USAGE_ERROR)
        chosen = (None if namespace is None else get_namespace(namespace).pk, parse_age(older_than), min_quality)
        if dry_run:
            self.stdout.write(f"{get_prunable_insights(*chosen).count():,} insights would be deleted.")
        else:
            self.stdout.write(f"{prune(*chosen):,} insights were deleted.")
