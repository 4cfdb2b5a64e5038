"""The base class of the commands about backups."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from django.core.management.base import CommandError

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.problems import BackupProblem, UnknownBackup
from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, get_first_line
from sessions_app.long_commands import LongCommand

PERCENT = 100


class BackupCommand(LongCommand):
    """A command that shows its progress in percent and ends with one sentence when something is wrong."""

    item_name = "percent"
    needs_fitting_release = False  # backups are the way back from a failed upgrade

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except UnknownBackup as error:
            raise CommandError(str(error), returncode=EXIT_USAGE_ERROR) from None
        except (BackupProblem, AlreadyRunning) as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from None
        except psycopg.Error as error:  # of connections that are not Django's
            message = f"The database does not answer: {get_first_line(error)}"
            raise CommandError(message, returncode=EXIT_FAILED) from None
        except OSError as error:
            message = f"{error.filename or 'The folder of backups'} cannot be used: {error.strerror}."
            raise CommandError(message, returncode=EXIT_FAILED) from None

    @contextmanager
    def follow_progress(self) -> Iterator[None]:
        """Show a bar while `note_progress` is called in the block."""
        self.done = 0
        with self.show_progress(PERCENT):
            yield
            self.advance(PERCENT - self.done)

    @contextmanager
    def follow_fetching(self) -> Iterator[Callable[[float], None]]:
        """Provide a function that shows the progress of fetching a backup, once it is called."""
        with ExitStack() as stack:

            def note(share: float) -> None:
                if self.bar is None:
                    stack.enter_context(self.follow_progress())
                self.note_progress(share, "fetching the copy")

            yield note
        self.bar = None

    def note_progress(self, share: float, what: str) -> None:
        percent = int(share * PERCENT)
        if self.bar is not None:
            self.bar.update(self.task, description=what)
        if percent > self.done:
            self.advance(percent - self.done)
