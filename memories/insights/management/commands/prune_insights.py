"""`manage.py prune_insights`: delete insights that are old, of low quality and never used."""

from argparse import ArgumentParser
from functools import partial

from django.core.management.base import CommandError

from memories.insights.retention import DEFAULT_MIN_QUALITY, get_prunable_insights, prune
from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand, get_namespace, parse_age
from sessions_app.namespaces import find_namespaces, for_each_namespace


class Command(MemoryCommand):
    help = "Delete insights that are old, of low quality and were never used. A weekly task does the same."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument(
            "--older-than", metavar="AGE", default="90d", help="minimum age, such as 90d or 12w; default: %(default)s"
        )
        parser.add_argument(
            "--min-quality",
            type=float,
            default=DEFAULT_MIN_QUALITY,
            help="delete below this quality, 0 to 1; default: %(default)s",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")

    def handle(
        self, *, namespace: str | None, older_than: str, min_quality: float, dry_run: bool, **options: object
    ) -> None:
        if not 0 <= min_quality <= 1:
            raise CommandError("--min-quality must lie between 0 and 1.", returncode=EXIT_USAGE_ERROR)
        owner = None if namespace is None else get_namespace(namespace).pk
        rows = get_prunable_insights(owner, parse_age(older_than), min_quality)
        if dry_run:
            self.stdout.write(f"{rows.count():,} insights would be deleted.")
        else:
            deleted = for_each_namespace(partial(prune, rows=rows), find_namespaces(rows))
            self.stdout.write(f"{deleted:,} insights were deleted.")
