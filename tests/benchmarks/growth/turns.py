"""The processes of all sizes, and requests that they answer in turns."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from tests.benchmarks.arms import WARM_UP_ROUNDS

#: Rounds of one size before it is the next one's turn.
TURN_ROUNDS = 10
#: Milliseconds by arm ("raw", "service", "http").
Times = dict[str, list[float]]
errors = Console(stderr=True)


class Size:
    """The process of one size. Its rows are loaded when `operations` is known."""

    def __init__(self, rows: int, directory: Path) -> None:
        self.rows = rows
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.growth.size", str(rows)],
            env=os.environ | {"DATA_DIR": str(directory.resolve() / str(rows))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.operations: list[str] = self.read()["operations"]

    def ask(self, **request: Any) -> Any:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"The process of {self.rows:,} rows ended; its error stands above.")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(120)


@contextmanager
def open_sizes(sizes: Iterable[int], directory: Path) -> Iterator[list[Size]]:
    with ExitStack() as stack:
        opened = []
        for rows in sizes:
            opened.append(Size(rows, directory))
            stack.callback(opened[-1].close)
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
