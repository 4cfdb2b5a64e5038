"""What differs between two texts: line by line, and word by word within changed lines.

A difference costs a bounded number of comparisons, whatever the texts: where they are too long or too different, whole
lines are shown as replaced.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import NamedTuple

SAME, REMOVED, ADDED = "same", "removed", "added"
WORDS = re.compile(r"\w+|\s+|[^\w\s]")
#: Comparisons of lines or words for one difference: about half a second.
MAX_COMPARISONS = 250_000
#: Unchanged lines around a change, and characters at both ends of a long unchanged part of a line.
CONTEXT_LINES, CONTEXT_CHARACTERS = 3, 120


class Part(NamedTuple):
    """A piece of a line: in both texts, in the earlier one alone, or in the later one alone."""

    kind: str
    text: str


@dataclass(frozen=True)
class Line:
    """A line of the difference. `left_out` is the number of unchanged lines that it stands for, of which none is
    shown."""

    parts: tuple[Part, ...] = ()
    left_out: int = 0

    @property
    def is_changed(self) -> bool:
        return any(part.kind != SAME for part in self.parts)

    @property
    def before(self) -> list[Part]:
        return [part for part in self.parts if part.kind != ADDED]

    @property
    def after(self) -> list[Part]:
        return [part for part in self.parts if part.kind != REMOVED]


def diff_texts(before: str, after: str) -> list[Line]:
    """Return the changed lines with their context."""
    return fold_unchanged(list(Difference().iter_lines(before.splitlines(), after.splitlines())))


class Difference:
    """Compares within one budget of comparisons."""

    def __init__(self) -> None:
        self.left = MAX_COMPARISONS

    def iter_lines(self, before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
        for kind, a, b in self.match(before, after):
            if kind == SAME:
                yield from (Line((Part(SAME, line),)) for line in a)
            else:
                yield from (self.compare_lines(*pair) for pair in zip_longest(a, b))

    def compare_lines(self, before: str | None, after: str | None) -> Line:
        if before is None or after is None:
            return Line((Part(ADDED, after or "") if before is None else Part(REMOVED, before),))
        parts: list[Part] = []
        for kind, a, b in self.match(WORDS.findall(before), WORDS.findall(after)):
            if kind == SAME:
                parts.append(Part(SAME, shorten("".join(a))))
            else:
                parts += [Part(each, "".join(words)) for each, words in ((REMOVED, a), (ADDED, b)) if words]
        return Line(tuple(parts))

    def match(self, before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
        """Return runs of both sequences: the same in both, or one that replaces the other."""
        start, end = count_common(before, after)
        stop, other_stop = len(before) - end, len(after) - end
        yield from ((SAME, before[:start], after[:start]),) if start else ()
        yield from self._match_middle(before[start:stop], after[start:other_stop])
        yield from ((SAME, before[stop:], after[other_stop:]),) if end else ()

    def _match_middle(
        self, before: Sequence[str], after: Sequence[str]
    ) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
        if not before and not after:
            return
        cost = len(before) * len(after)
        if cost > self.left:
            yield REMOVED, before, after
            return
        self.left -= cost
        for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            yield (SAME if kind == "equal" else REMOVED), before[a:b], after[c:d]


def count_common(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Return how many items both have at their beginning, and how many of the others at their end."""
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    rest = shorter - start
    return start, next((n for n in range(rest) if before[-1 - n] != after[-1 - n]), rest)


def shorten(text: str) -> str:
    """Return a long unchanged text without its middle."""
    if len(text) <= 3 * CONTEXT_CHARACTERS:
        return text
    return f"{text[:CONTEXT_CHARACTERS]} … {text[-CONTEXT_CHARACTERS:]}"


def fold_unchanged(lines: list[Line]) -> list[Line]:
    """Replace unchanged lines that are far from every change by one line with their number."""
    changed = [number for number, line in enumerate(lines) if line.is_changed]
    near = {
        number
        for at in changed
        for number in range(at - CONTEXT_LINES, at + CONTEXT_LINES + 1)
        if 0 <= number < len(lines)
    }
    folded: list[Line] = []
    left_out = 0
    for number, line in enumerate(lines):
        if number not in near:
            left_out += 1
            continue
        folded += [Line(left_out=left_out)] if left_out else []
        folded.append(line)
        left_out = 0
    return [*folded, Line(left_out=left_out)] if left_out else folded
