"""`manage.py show ID`: print a memory as JSON."""

from argparse import ArgumentParser
from uuid import UUID

from django.core.management.base import CommandError
from pydantic_core import to_json

from memories.models import Memory
from memories.schemas import OUT_COLUMNS, to_memory_out
from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, MemoryCommand, add_namespace_argument, get_namespace


class Command(MemoryCommand):
    help = "Print a memory as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("id")

    def handle(self, *, id: str, namespace: str, **options: object) -> None:
        try:
            key = UUID(id)
        except ValueError:
            raise CommandError(f"{id!r} is not the id of a memory.", returncode=EXIT_USAGE_ERROR) from None
        row = Memory.objects.in_namespace(get_namespace(namespace).pk).filter(pk=key).values(*OUT_COLUMNS).first()
        if row is None:
            raise CommandError("There is no such memory.", returncode=EXIT_FAILED)
        self.stdout.write(to_json(to_memory_out(row), indent=2).decode())
