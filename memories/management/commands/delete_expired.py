"""`manage.py delete_expired`: delete expired memories."""

from argparse import ArgumentParser

from memories.tasks import delete_expired, find_expired
from sessions_app.commands import MemoryCommand, get_namespace


class Command(MemoryCommand):
    help = "Delete expired memories. An hourly task does the same; no read has seen them since they expired."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")

    def handle(self, *, namespace: str | None, dry_run: bool, **options: object) -> None:
        namespace_id = None if namespace is None else get_namespace(namespace).pk
        if dry_run:
            self.stdout.write(f"{find_expired(namespace_id).count():,} memories would be deleted.")
        else:
            self.stdout.write(f"{delete_expired(namespace_id):,} memories were deleted.")
