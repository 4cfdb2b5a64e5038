"""`manage.py prune_insights`: delete the insights that nobody will miss."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from memories.insights.retention import QUALITY, prunable, prune
from sessions_app.commands import WRONG_USE, MemoryCommand, age_of, namespace_named


class Command(MemoryCommand):
    help = "Delete insights that are old, of little quality and were never used. Every week does this too."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument(
            "--older-than", metavar="AGE", default="90d", help="such as 90d or 12w; default: %(default)s"
        )
        parser.add_argument("--min-quality", type=float, default=QUALITY, help="below it; default: %(default)s")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(
        self, *, namespace: str | None, older_than: str, min_quality: float, dry_run: bool, **options: object
    ) -> None:
        if not 0 <= min_quality <= 1:
            raise CommandError("--min-quality must lie between 0 and 1.", returncode=WRONG_USE)
        chosen = (None if namespace is None else namespace_named(namespace).pk, age_of(older_than), min_quality)
        if dry_run:
            self.stdout.write(f"{prunable(*chosen).count():,} insights would be deleted.")
        else:
            self.stdout.write(f"{prune(*chosen):,} insights were deleted.")
