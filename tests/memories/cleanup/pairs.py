"""The labelled pairs of pairs.txt, and how well a rule finds those that are duplicates."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

DUPLICATES, OTHERS = ("format", "typo", "reworded", "longer"), ("correction", "lookalike")


class Pair(NamedTuple):
    kind: str
    one: str
    other: str

    @property
    def is_duplicate(self) -> bool:
        return self.kind in DUPLICATES


class Score(NamedTuple):
    """Of the pairs that a rule calls duplicates the share that are, and of those that are the share that it finds."""

    precision: float
    recall: float


@cache
def load_pairs() -> tuple[Pair, ...]:
    return tuple(iter_pairs(Path(__file__).with_name("pairs.txt").read_text().splitlines()))


def iter_pairs(lines: Iterable[str]) -> Iterator[Pair]:
    first = ""
    for line in lines:
        if line.startswith("= "):
            first = line[2:]
        elif line and not line.startswith("#"):
            kind, other = line.split("\t")
            yield Pair(kind, first, other)


def measure(is_found: Callable[[Pair], bool], pairs: Iterable[Pair]) -> Score:
    pairs = list(pairs)
    found = [pair.is_duplicate for pair in pairs if is_found(pair)]
    return Score(sum(found) / len(found) if found else 1.0, sum(found) / sum(pair.is_duplicate for pair in pairs))
