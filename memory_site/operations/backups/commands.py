"""The base class of the commands about backups."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from memory_site.operations.backups.problems import UnknownBackup
from memory_site.operations.commands import RecoveryCommand

PERCENT = 100


class BackupCommand(RecoveryCommand):
    """A command about backups, which shows its progress in percent."""

    item_name = "percent"
    usage_problems = (UnknownBackup,)

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
