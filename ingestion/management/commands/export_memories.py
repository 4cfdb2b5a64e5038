"""`manage.py export_memories [FILE]`: export a namespace, or one user, as JSON Lines."""

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

from django.core.management.base import CommandError, CommandParser

from ingestion.transfer.exporter import UnexportableRow, export_namespace
from sessions_app.commands import EXIT_FAILED, add_namespace_argument, get_namespace
from sessions_app.long_commands import EXIT_INTERRUPTED, LongCommand

HELP = """Export a namespace as JSON Lines for import_memories.

The export has memories with their vectors and relationships, documents, sessions and their links, conversations with
their messages, insights, patterns, preferences and workflow executions. Expired rows, API keys and ingestion runs are
left out. With --user it has only the memories, conversations and executions of this user and the sessions that these
refer to, but no documents; of several chunks with the same text it has one.

Encrypted histories are written decrypted, so that another site can import them. Treat the file as confidential; it is
created readable by you alone. The import encrypts histories again if keys are configured."""


class Command(LongCommand):
    help = HELP
    item_name = "lines"

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_namespace_argument(parser)
        parser.add_argument("--user", help="export only this user")
        parser.add_argument("file", nargs="?", default="-", help="default: -, which is stdout")

    def handle(self, *, file: str, namespace: str, user: str | None, **_: Any) -> None:
        try:
            # Closed explicitly, since the generator holds an open transaction.
            with closing(export_namespace(get_namespace(namespace), user)) as lines, open_output(file) as out:
                header = next(lines)
                total = sum(json.loads(header)["counts"].values())
                if user is not None and not total:
                    raise CommandError(f"The namespace has nothing of the user {user!r}.", returncode=EXIT_FAILED)
                out.write(header)
                for line in self.track_progress(lines, total):
                    out.write(line)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The export is incomplete.", returncode=EXIT_INTERRUPTED) from None
        except UnexportableRow as error:
            raise CommandError(f"{error} The export is incomplete.", returncode=EXIT_FAILED) from None
        except BrokenPipeError:
            close_pipe()
            raise CommandError(
                "The reader of the pipe has closed it. The export is incomplete.", returncode=EXIT_FAILED
            ) from None
        except OSError as error:
            where = "stdout" if file == "-" else file
            raise CommandError(f"{where} cannot be written: {error.strerror}.", returncode=EXIT_FAILED) from None


@contextmanager
def open_output(file: str) -> Iterator[IO[bytes]]:
    """Open stdout, or a temporary file that replaces `file` when it is complete. Raises OSError."""
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
    """Close stdout if it is a pipe, so that its reader sees the end of the file now.

    An import at the other end uses the services that this process has started and stops only after the import has
    ended: each would wait for the other. It also keeps Python from flushing into a broken pipe at exit.
    """
    with suppress(UnsupportedOperation):  # not a real file, in a test
        if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
            with open(os.devnull, "wb") as devnull:
                os.dup2(devnull.fileno(), sys.stdout.fileno())
