"""`manage.py show ID`: one memory, whole."""

from argparse import ArgumentParser
from uuid import UUID

from django.core.management.base import CommandError
from pydantic_core import to_json

from memories.models import Memory
from memories.schemas import OUT_COLUMNS, memory_out
from sessions_app.commands import FAILED, WRONG_USE, MemoryCommand, add_namespace, namespace_named


class Command(MemoryCommand):
    help = "Print one memory as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace(parser)
        parser.add_argument("id")

    def handle(self, *, id: str, namespace: str, **options: object) -> None:
        try:
            key = UUID(id)
        except ValueError:
            raise CommandError(f"{id!r} is not the id of a memory.", returncode=WRONG_USE) from None
        row = Memory.objects.in_namespace(namespace_named(namespace).pk).filter(pk=key).values(*OUT_COLUMNS).first()
        if row is None:
            raise CommandError("There is no such memory.", returncode=FAILED)
        self.stdout.write(to_json(memory_out(row), indent=2).decode())
