"""`manage.py import_memories FILE`: store memories from JSON Lines, all of them or none."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import nullcontext
from typing import IO, Any

from django.core.management.base import CommandError
from django.db import connection, transaction
from pydantic import ValidationError

from memories import tasks
from memories.add import add_many
from memories.embeddings import get_embedder
from memories.schemas import MemoryIn
from memory_site.operations.commands import FAILED, add_namespace, namespace_named, sentences
from memory_site.operations.long_commands import LongCommand
from memory_site.problems import Problem
from memory_site.requests import read_json

BATCH = 1_000
LONGEST_LINE = 5 * 2**20
BAD_TOLD = 20


class Command(LongCommand):
    help = (
        "Store memories from JSON Lines, one object a line with the fields of POST /memories; - reads from stdin. All "
        "lines are kept or, when one is wrong or the import is interrupted, none. Running it again adds nothing twice."
    )
    things = "lines"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace(parser)
        parser.add_argument("file")
        parser.add_argument("--dry-run", action="store_true", help="only check every line")

    def handle(self, *, file: str, namespace: str, dry_run: bool, **_: Any) -> None:
        self.owner, self.bad, self.created = namespace_named(namespace).pk, 0, 0
        with opened(file) as lines, transaction.atomic():
            with connection.cursor() as cursor:  # whoever writes into a pipe may take his time
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            for batch in batches(self.through(self.valid(lines), 0)):
                self.keep(batch)
            if self.bad:
                raise CommandError(f"{self.bad:,} lines are wrong. Nothing was imported.", returncode=FAILED)
            transaction.set_rollback(dry_run)
        self.tell(dry_run)

    def valid(self, lines: IO[bytes]) -> Iterator[MemoryIn | None]:
        """A memory for each line; nothing for one that is blank or wrong, which is told with its number."""
        for number, line in enumerate(lines_of(lines), 1):
            self.expect(number)
            try:
                yield memory_in(line) if line.strip() else None
            except ValueError as error:
                self.bad += 1
                if self.bad <= BAD_TOLD:
                    self.messages.print(f"line {number:,}: {error}")
                yield None

    def keep(self, memories: list[MemoryIn]) -> None:
        if self.bad or not memories:
            return  # the rest is only checked
        try:
            self.created += add_many(self.owner, memories, get_embedder().model)[1]
        except Problem as problem:
            raise CommandError(f"Up to line {self.done:,}: {problem.errors}. Nothing was imported.") from None

    def tell(self, dry_run: bool) -> None:
        if dry_run:
            self.stdout.write(f"{self.done:,} lines are right; {self.created:,} memories would be new.")
            return
        tasks.bell.ring()
        self.stdout.write(f"{self.created:,} memories are new, of {self.done:,} lines.")


def opened(file: str) -> Any:
    """Raises CommandError."""
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(file, "rb")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", returncode=FAILED) from None


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Each line; of one that is too long only its beginning, so that no file can fill the memory."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 1)


def memory_in(line: bytes) -> MemoryIn:
    """Raises ValueError, whose text is for people."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it is longer than {LONGEST_LINE // 2**20} MB")
    try:
        return MemoryIn.model_validate(read_json(line.decode().strip()))
    except ValidationError as error:
        raise ValueError(sentences(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def batches(memories: Iterator[MemoryIn | None]) -> Iterator[list[MemoryIn]]:
    batch = []
    for memory in memories:
        if memory is not None:
            batch.append(memory)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch
