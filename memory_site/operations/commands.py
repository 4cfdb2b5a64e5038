"""The base class of the commands that work with files and with connections of their own."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management.base import CommandError

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.problems import BackupProblem
from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, get_first_line
from sessions_app.long_commands import LongCommand


class RecoveryCommand(LongCommand):
    """A command that ends with one sentence when a file, a database or what was asked for is wrong."""

    needs_fitting_release = False  # it is a way back from a failed upgrade
    #: Errors of what was asked for, and those of the work. Their messages are sentences for the operator.
    usage_problems: tuple[type[Exception], ...] = ()
    problems: tuple[type[Exception], ...] = (BackupProblem, AlreadyRunning)
    #: What an error of the operating system that names no file is about.
    place = "The folder of backups"

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with interrupted_by_sigterm():
                return super().execute(*args, **options)
        except self.usage_problems as error:
            raise CommandError(str(error), returncode=EXIT_USAGE_ERROR) from None
        except self.problems as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None
        except psycopg.Error as error:  # of connections that are not Django's
            message = f"The database does not answer: {get_first_line(error)}"
            raise CommandError(message, returncode=EXIT_FAILED) from None
        except OSError as error:
            message = f"{error.filename or self.place} cannot be used: {error.strerror}."
            raise CommandError(message, returncode=EXIT_FAILED) from None


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end the work as Ctrl+C does, so that it removes what is half done."""
    if threading.current_thread() is not threading.main_thread():  # there no handler can be set
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
