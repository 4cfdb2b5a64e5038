"""The base class of long-running commands: progress, and an interruption that can be continued."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from sessions_app.commands import MemoryCommand

EXIT_INTERRUPTED = 130
Item = TypeVar("Item")


class RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


class LongCommand(MemoryCommand):
    """A command that processes many items one after the other and may be interrupted and repeated.

    stderr shows a progress bar on a terminal, and one line at the end elsewhere.
    """

    item_name = "items"
    #: What the end of the message after Ctrl+C says.
    interruption_advice = "Run it again to continue."

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.done = self.total = 0
        self.bar: Progress | None = None
        self.messages = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            message = f"Stopped: {self.progress_text}. {self.interruption_advice}"
            raise CommandError(message, returncode=EXIT_INTERRUPTED) from None

    @property
    def progress_text(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.item_name} are done"

    def set_total(self, total: int) -> None:
        """Correct the expected number of items while they are tracked."""
        self.total = total
        if self.bar is not None:
            self.bar.update(self.task, total=total)

    def track_progress(self, items: Iterator[Item], total: int) -> Iterator[Item]:
        """Yield each item; it counts as done when the next one is requested."""
        with self.show_progress(total):
            for item in items:
                yield item
                self.advance(1)

    def advance(self, items: int) -> None:
        self.done += items
        if self.bar is not None:
            self.bar.advance(self.task, items)

    @contextmanager
    def show_progress(self, total: int) -> Iterator[None]:
        """Show a bar while `advance` is called in the block."""
        self.total, started = total, time.monotonic()
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.messages, disable=not sys.stderr.isatty()) as self.bar:
            self.task = self.bar.add_task(self.item_name, total=total)
            yield
            self.set_total(self.done)  # some items may have disappeared meanwhile
        if not sys.stderr.isatty():
            self.messages.print(f"{self.progress_text}, in {time.monotonic() - started:.1f} s.")
