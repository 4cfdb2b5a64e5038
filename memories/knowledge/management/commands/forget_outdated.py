"""`manage.py forget_outdated`: delete outdated memories."""

from argparse import ArgumentParser

from memories.knowledge.retention import forget_outdated
from memories.models import Memory
from sessions_app.commands import MemoryCommand, get_namespace


class Command(MemoryCommand):
    help = (
        "Delete memories of LOW importance or less that have been used less than three times and not for 90 days. "
        "Memories tagged preserve or important, or with metadata.important, stay. A nightly task does the same."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", help="default: all")
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, namespace: str | None, dry_run: bool, **options: object) -> None:
        rows = Memory.objects.all()
        if namespace is not None:
            rows = rows.filter(namespace=get_namespace(namespace))
        if dry_run:
            self.stdout.write(f"{rows.outdated().count()} memories would be forgotten.")
        else:
            self.stdout.write(f"{forget_outdated(rows)} memories were forgotten.")
