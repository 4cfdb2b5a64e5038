"""`manage.py remember TEXT`: store a memory."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from pydantic import ValidationError

from memories.add import add_one
from memories.embedding_worker import embed_now
from memories.memory_types import MemoryType
from memories.schemas import MemoryIn
from sessions_app.commands import (
    EXIT_USAGE_ERROR,
    MemoryCommand,
    add_namespace_argument,
    format_validation_error,
    get_namespace,
)

WAIT_SECONDS = 20.0


class Command(MemoryCommand):
    help = "Store a memory and print its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("text")
        parser.add_argument(
            "--type", default="agent", choices=[kind.value for kind in MemoryType], help="default: agent"
        )
        parser.add_argument("--user", help="the user it belongs to")
        parser.add_argument("--tag", action="append", default=[], help="can be given several times")
        parser.add_argument("--importance", type=int, default=3, help="1 to 5 (default: 3)")

    def handle(self, *, text: str, namespace: str, **options: Any) -> None:
        owner = get_namespace(namespace)
        try:
            memory = MemoryIn(
                content=text,
                memory_type=options["type"],
                user_id=options["user"],
                tags=options["tag"],
                importance=options["importance"],
                source_system="command line",
            )
        except ValidationError as error:
            raise CommandError(format_validation_error(error), returncode=EXIT_USAGE_ERROR) from None
        row, created = add_one(owner.pk, memory)
        embedded = embed_now(owner.pk, [row["id"]], WAIT_SECONDS)
        self.stderr.write(f"{'Stored' if created else 'Stored before'}, {'' if embedded else 'not yet '}embedded.")
        self.stdout.write(str(row["id"]))
