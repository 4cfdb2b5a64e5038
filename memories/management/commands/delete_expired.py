"""`manage.py delete_expired`: delete expired memories."""

from argparse import ArgumentParser

from memories.expiry import delete_expired_memories
from memories.models import Memory
from memories.tasks import delete_expired
from sessions_app.commands import MemoryCommand, get_namespace


class Command(MemoryCommand):
    help = "Delete expired memories. An hourly task does the same; no read has seen them since they expired."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="only this namespace; default: all")
        parser.add_argument("--dry-run", action="store_true", help="only count, delete nothing")

    def handle(self, *, namespace: str | None, dry_run: bool, **options: object) -> None:
        owner = None if namespace is None else get_namespace(namespace)
        if dry_run:
            rows = Memory.objects.all() if owner is None else Memory.objects.filter(namespace=owner)
            self.stdout.write(f"{rows.expired().count():,} memories would be deleted.")
        else:
            deleted = delete_expired() if owner is None else delete_expired_memories(owner.pk)
            self.stdout.write(f"{deleted:,} memories were deleted.")
