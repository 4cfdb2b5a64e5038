"""`manage.py import_memories FILE`: import memories, or an export, from JSON Lines in one transaction."""

import codecs
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from typing import IO, Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import connection, transaction

from ingestion.transfer.batches import batch_lines
from ingestion.transfer.importer import (
    ModelChangedDuringImport,
    NamespaceImport,
    ParsedLine,
    TruncatedExport,
    find_active_model,
    parse_line,
    purge_expired_rows,
    validate_model,
)
from ingestion.transfer.line_schemas import ExportHeader
from memories import tasks
from memories.active_model import model_for_supplied_vector
from memories.embeddings import EmbedderUnavailable
from memories.insights.capture import capture_from_stored, may_contain_insights
from memories.schemas import MemoryIn
from memories.storage import insert_memories
from memory_site.core.errors import InvalidField
from memory_site.core.http.parsing import read_json
from sessions_app.commands import EXIT_FAILED, add_namespace_argument, get_namespace
from sessions_app.long_commands import EXIT_INTERRUPTED, LongCommand
from sessions_app.models import Namespace

#: Maximum size of a memory, and of any line of an export: a session's history alone may have four megabytes.
MAX_MEMORY_BYTES, MAX_LINE_BYTES = 5 * 2**20, 32 * 2**20
MAX_REPORTED_ERRORS = 20
HELP = """Import a file of export_memories, or memories of your own: one JSON object per line with the fields of
POST /memories.

Either all lines are imported or, if one is wrong or the import is interrupted, none. A second import adds no
duplicates.

An export is restored unchanged, ids included. An id that another namespace of this database uses is replaced, also
in references. A memory, entity, session or document that exists already stays as it is, and imported references to
it refer to the existing one. Histories are encrypted if SESSION_ENCRYPTION_KEYS is set. Vectors of other models than
the namespace's are left out; memories without a vector of its model are embedded afterwards."""


class Command(LongCommand):
    help = HELP
    item_name = "lines"

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("file", help="- for stdin")
        parser.add_argument("--dry-run", action="store_true", help="only check every line")

    def handle(self, *, file: str, namespace: str, dry_run: bool, **_: Any) -> None:
        self.error_count = 0
        target = get_namespace(namespace)
        try:
            with open_input(file) as opened:
                source, lines = detect_source(target, enumerate(read_lines(opened), 1), dry_run)
                with transaction.atomic():
                    with connection.cursor() as cursor:  # the writer of a pipe may be slow
                        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    self.import_lines(source, lines)
                    transaction.set_rollback(dry_run)
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing was imported.", returncode=EXIT_INTERRUPTED) from None
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.", returncode=EXIT_FAILED) from None
        if not dry_run:
            tasks.embedding_trigger.notify_on_commit()
        if source.note:
            self.messages.print(source.note)
        self.stdout.write(source.summary(self.done, dry_run))

    def import_lines(self, source: "MemoryFileImport | ExportFileImport", lines: Iterator[tuple[int, bytes]]) -> None:
        """Import all lines. Raises CommandError when a line is wrong; the caller's transaction then rolls back."""
        source.begin()
        for batch in batch_lines(self.track_progress(self.read(source, lines), source.total)):
            if not self.error_count:  # after an error, further lines are only checked
                self.report_errors(source.insert(batch))
        if self.error_count:
            count = "1 line is wrong" if self.error_count == 1 else f"{self.error_count:,} lines are wrong"
            raise CommandError(f"{count}. Nothing was imported.", returncode=EXIT_FAILED)
        source.finish()

    def read(
        self, source: "MemoryFileImport | ExportFileImport", lines: Iterator[tuple[int, bytes]]
    ) -> Iterator[tuple[Any, int]]:
        """Yield (parsed line, size in bytes); None instead of a blank line or a wrong one, which is reported."""
        for number, line in lines:
            if not source.total:
                self.set_total(number)
            try:
                yield source.read(number, line) if line.strip() else None, len(line)
            except ValueError as error:
                self.report_errors([(number, str(error))])
                yield None, 0

    def report_errors(self, errors: Iterable[tuple[int, str]]) -> None:
        for number, reason in errors:
            self.error_count += 1
            if self.error_count <= MAX_REPORTED_ERRORS:
                self.messages.print(f"line {number:,}: {reason}")


class MemoryFileImport:
    """Lines with the fields of POST /memories."""

    total, note = 0, ""

    def __init__(self, namespace: Namespace, has_vectors: bool, dry_run: bool) -> None:
        """Set the namespace's model if the file has vectors: inside the transaction, workers would wait for its end."""
        self.namespace_id, self.created, self.dry_run = namespace.pk, 0, dry_run
        self.insight_candidates: list[tuple[UUID, MemoryIn]] = []
        if has_vectors and not dry_run:
            with suppress(EmbedderUnavailable):  # reported with the batch
                model_for_supplied_vector(self.namespace_id, namespace.embedding_model)

    def begin(self) -> None:
        self.model = find_active_model(self.namespace_id)

    def read(self, number: int, line: bytes) -> tuple[int, MemoryIn]:
        """Parse a memory. Raises ValueError with a readable message."""
        if len(line) > MAX_MEMORY_BYTES:
            raise ValueError(f"it is longer than {MAX_MEMORY_BYTES // 2**20} MB")
        return number, validate_model(MemoryIn, parse_json_line(line))

    def insert(self, batch: list[tuple[int, MemoryIn]]) -> Sequence[tuple[int, str]]:
        """Insert the memories. Return no errors: these were found by `read`. Raises CommandError."""
        memories = [memory for _, memory in batch]
        if self.model is None and any(memory.vector is not None for memory in memories):
            raise CommandError(
                "The embedder is unavailable, so the model of the vectors is unknown. Nothing was imported."
            )
        if self.dry_run:
            memories = [memory.model_copy(update={"vector": None}) for memory in memories]
        try:
            ids, new = insert_memories(self.namespace_id, memories, self.model)
        except InvalidField as error:
            raise CommandError(f"Up to line {batch[-1][0]:,}: {error}. Nothing was imported.") from None
        self.created += len(new)
        self.insight_candidates += [each for each in zip(ids, memories, strict=True) if may_contain_insights(each[1])]
        return ()

    def finish(self) -> None:
        if self.insight_candidates:
            capture_from_stored(self.namespace_id, self.insight_candidates)

    def summary(self, lines: int, dry_run: bool) -> str:
        if dry_run:
            return f"{lines:,} lines are valid; {self.created:,} memories would be new."
        return f"{self.created:,} memories are new, of {lines:,} lines."


class ExportFileImport:
    """Lines that export_memories wrote."""

    note = ""

    def __init__(self, namespace: Namespace, header: ExportHeader, dry_run: bool) -> None:
        self.namespace_id, self.header, self.dry_run = namespace.pk, header, dry_run
        self.total = sum(header.counts.values())
        if not dry_run:
            purge_expired_rows(self.namespace_id)

    def begin(self) -> None:
        if self.dry_run:  # inside the transaction, which is rolled back
            purge_expired_rows(self.namespace_id)
        self.work = NamespaceImport(self.namespace_id, self.header)

    def insert(self, batch: list[ParsedLine]) -> Sequence[tuple[int, str]]:
        return self.work.insert(batch)

    def read(self, number: int, line: bytes) -> ParsedLine:
        """Parse a line. Raises ValueError with a readable message."""
        return parse_line(number, parse_json_line(line), line.decode())

    def finish(self) -> None:
        try:
            self.work.finish()
        except (TruncatedExport, ModelChangedDuringImport) as error:
            raise CommandError(f"{error} Nothing was imported.", returncode=EXIT_FAILED) from None
        if others := ", ".join(sorted(self.work.other_models)):
            model = self.work.model or "an unavailable one"
            self.note = (
                f"Vectors of {others} were left out: the namespace's model is {model}. It will embed these memories."
            )

    def summary(self, lines: int, dry_run: bool) -> str:
        new = self.work.new
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in new.items() if count) or "nothing"
        return f"{new.total():,} of {lines:,} lines {'would be' if dry_run else 'are'} new: {kinds}."


def detect_source(
    namespace: Namespace, lines: Iterator[tuple[int, bytes]], dry_run: bool
) -> tuple[MemoryFileImport | ExportFileImport, Iterator[tuple[int, bytes]]]:
    """Return the kind of file that the first line shows, and the lines to import. Raises CommandError."""
    first = next((each for each in lines if each[1].strip()), None)
    if header := parse_header(first):
        return ExportFileImport(namespace, header, dry_run), lines
    has_vectors = first is not None and b'"vector"' in first[1]
    return MemoryFileImport(namespace, has_vectors, dry_run), lines if first is None else chain([first], lines)


def parse_header(first: tuple[int, bytes] | None) -> ExportHeader | None:
    """Return the header of an export, or None for a file of memories. Raises CommandError."""
    number, line = first or (0, b"")
    try:
        given = parse_json_line(line)
    except ValueError:
        return None
    if not isinstance(given, dict) or "kind" not in given:
        return None
    try:
        return validate_model(ExportHeader, given)
    except ValueError as error:
        message = f"line {number:,}: this is not the header of an export: {error}. Nothing was imported."
        raise CommandError(message, returncode=EXIT_FAILED) from None


def open_input(file: str) -> Any:
    return nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb")


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines, each cut after the maximum length, so that no file can exhaust the memory; without a BOM."""
    beginning = codecs.BOM_UTF8
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line.removeprefix(beginning)
        beginning = b""
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)


def parse_json_line(line: bytes) -> Any:
    """Parse a line as JSON. Raises ValueError with a readable message."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it is longer than {MAX_LINE_BYTES // 2**20} MB")
    try:
        return read_json(line.decode().strip())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):
            raise ValueError("it holds a number of more than 4,300 digits") from None
        raise
