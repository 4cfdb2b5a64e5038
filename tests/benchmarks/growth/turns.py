"""The processes of all sizes, and requests that they answer in turns."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from tests.benchmarks.arms import WARM_UP_ROUNDS
from tests.benchmarks.processes import AnsweringProcess

#: Rounds of one size before it is the next one's turn.
TURN_ROUNDS = 10
#: Milliseconds by arm ("raw", "service", "http").
Times = dict[str, list[float]]
errors = Console(stderr=True)


class Size:
    """The process of one size; it is ready when its rows are loaded."""

    def __init__(self, rows: int, directory: Path) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.growth.size", str(rows)]
        self.rows = rows
        self.process = AnsweringProcess(command, {"DATA_DIR": str(directory.resolve() / str(rows))})
        self.operations: list[str] = self.process.ready["operations"]

    def ask(self, **request: Any) -> Any:
        return self.process.ask(**request)


@contextmanager
def open_sizes(sizes: Iterable[int], directory: Path) -> Iterator[list[Size]]:
    with ExitStack() as stack:
        opened = []
        for rows in sizes:
            opened.append(Size(rows, directory))
            stack.callback(opened[-1].process.close)
        yield opened


def measure_operations(sizes: Sequence[Size], rounds: int) -> dict[str, dict[int, Times]]:
    """Return the times of each operation at each size."""
    starts = range(0, rounds + WARM_UP_ROUNDS, TURN_ROUNDS)
    found = {name: {size.rows: {} for size in sizes} for name in sizes[0].operations}
    turns = [(name, start, size) for name in found for start in starts for size in sizes]
    for name, start, size in track(turns, "operations", console=errors):
        answer = size.ask(operation=name, start=start, rounds=TURN_ROUNDS)
        if start >= WARM_UP_ROUNDS:
            for arm, times in answer.items():
                found[name][size.rows].setdefault(arm, []).extend(times)
    return found


def measure_recalls(sizes: Sequence[Size], searches: int) -> dict[int, dict[str, dict[str, float]]]:
    """Return the figures of each filter at each size."""
    names = ["0.1 %", "1 %", "10 %", "50 %", "100 %"]
    turns = [(size, name) for size in sizes for name in names]
    found: dict[int, dict[str, dict[str, float]]] = {}
    for size, name in track(turns, "recall", console=errors):
        found.setdefault(size.rows, {})[name] = size.ask(filter=name, searches=searches)
    return found
