"""`manage.py prune_performance`: delete old measurements."""

from argparse import ArgumentParser
from functools import partial

from ingestion.performance.retention import delete_measurements, find_old_measurements
from sessions_app.commands import MemoryCommand, get_namespace, parse_age
from sessions_app.namespaces import find_namespaces, for_each_namespace


class Command(MemoryCommand):
    help = "Delete old measurements of performance. A nightly task does the same."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument(
            "--older-than", metavar="AGE", help="minimum age, such as 30d or 12w; default: PERFORMANCE_RETENTION_DAYS"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")

    def handle(self, *, namespace: str | None, older_than: str | None, dry_run: bool, **options: object) -> None:
        rows = find_old_measurements(None if older_than is None else parse_age(older_than))
        if namespace is not None:
            rows = rows.filter(namespace=get_namespace(namespace))
        if dry_run:
            self.stdout.write(f"{rows.count():,} measurements would be deleted.")
        else:
            deleted = for_each_namespace(partial(delete_measurements, rows=rows), find_namespaces(rows))
            self.stdout.write(f"{deleted:,} measurements were deleted.")
