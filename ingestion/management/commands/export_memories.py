"""`manage.py export_memories [FILE]`: all of a namespace, or of one user, as JSON Lines."""

import json
import os
import stat
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError

from ingestion.transfer.exporter import UnexportableRow, export_namespace
from sessions_app.commands import EXIT_FAILED, add_namespace_argument, get_namespace
from sessions_app.long_commands import EXIT_INTERRUPTED, LongCommand

HELP = """Write everything of a namespace as JSON Lines, for import_memories to read elsewhere.

Memories with their vectors and relationships, documents, sessions and links between them, conversations with their
messages, executions of workflows. What has expired is left out, and so are API keys and the log of ingestions. With
--user only what is his: his memories, conversations and executions, the sessions these name, and never a document;
of chunks of several documents with the same text, one.

Histories that are encrypted here are written open, so that they can be read elsewhere: the file is as private as what
it tells, and made readable for you alone. The import seals them again where keys are configured."""


class Command(LongCommand):
    help = HELP
    item_name = "lines"

    def create_parser(self, *args: Any, **options: Any) -> ArgumentParser:
        return super().create_parser(*args, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--user", help="only what is this user's")
        parser.add_argument("file", nargs="?", default="-", help="default: -, which is stdout")

    def handle(self, *, file: str, namespace: str, user: str | None, **_: Any) -> None:
        try:
            # Closed here, and not whenever Python comes to it: the lines have a transaction open.
            with closing(export_namespace(get_namespace(namespace), user)) as lines, open_output(file) as out:
                header = next(lines)
                total = sum(json.loads(header)["counts"].values())
                if user is not None and not total:
                    raise CommandError(f"Nothing is known of the user {user!r}.", returncode=EXIT_FAILED)
                out.write(header)
                for line in self.track_progress(lines, total):
                    out.write(line)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The export is not whole.", returncode=EXIT_INTERRUPTED) from None
        except UnexportableRow as error:
            raise CommandError(f"{error} The export is not whole.", returncode=EXIT_FAILED) from None
        except BrokenPipeError:
            close_pipe()
            raise CommandError("Whoever was to read this has gone.", returncode=EXIT_FAILED) from None
        except OSError as error:
            where = "stdout" if file == "-" else file
            raise CommandError(f"{where} cannot be written: {error.strerror}.", returncode=EXIT_FAILED) from None


@contextmanager
def open_output(file: str) -> Iterator[IO[bytes]]:
    """Stdout, or a file that is there, and takes the place of an older one, only when it is whole. Raises OSError."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        close_pipe()
        return
    with tempfile.NamedTemporaryFile(dir=Path(file).parent, prefix=".export-", delete=False) as out:
        try:
            yield out
            out.flush()
            os.fsync(out.fileno())
            os.replace(out.name, file)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(out.name)
            raise


def close_pipe() -> None:
    """Who reads our stdout is told that this is all. An import there uses the services we have started, which we stop
    only when it has ended: each would wait for the other. And what a reader who has gone did not take would be tried
    again, and complained about, when Python ends."""
    with suppress(UnsupportedOperation):  # not a real file, in a test
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
