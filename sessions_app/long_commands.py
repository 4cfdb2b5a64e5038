"""Commands that take a while: they show how far they are, and may be interrupted and run again."""

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TimeRemainingColumn
from rich.text import Text

from sessions_app.commands import MemoryCommand

EXIT_INTERRUPTED = 130
Item = TypeVar("Item")


class RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


class LongCommand(MemoryCommand):
    """A command that goes through many things, one after the other, and may be interrupted and run again.

    On a terminal stderr shows a bar, elsewhere one line at the end.
    """

    item_name = "things"

    def execute(self, *args: object, **options: object) -> object:
        self.done = self.total = 0
        self.messages = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
        try:
            return super().execute(*args, **options)
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped: {self.progress_text}. Running it again goes on.", returncode=EXIT_INTERRUPTED
            ) from None

    @property
    def progress_text(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.item_name} are done"

    def _expect(self, bar: Progress, task: TaskID, total: int) -> None:
        self.total = total
        bar.update(task, total=total)

    def track_progress(self, items: Iterator[Item], total: int) -> Iterator[Item]:
        """Each item, counted when the next one is asked for."""
        self.total, started = total, time.monotonic()
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.messages, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task(self.item_name, total=total)
            self.expect = lambda total: self._expect(bar, task, total)
            for item in items:
                yield item
                self.done += 1
                bar.advance(task)
            self.total = self.done  # some may have gone meanwhile
            bar.update(task, total=self.total)
        if not sys.stderr.isatty():
            self.messages.print(f"{self.progress_text}, in {time.monotonic() - started:.1f} s.")
