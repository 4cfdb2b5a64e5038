"""Segments of a text that a splitter takes in time: an oversized line is several, and long white space is none."""

import re
from collections.abc import Iterator

from ingestion.splitters.boundaries import find_word_start

#: Lengths in characters of a line and of white space that are probably generated. A splitter takes minutes for very
#: long ones and crashes on such white space: the line is split in overlapping slices, the white space is dropped.
MAX_LINE_LENGTH, MAX_SPACE_LENGTH, SLICE_LENGTH, SLICE_OVERLAP = 5_000, 200, 4_000, 60
#: Characters at the end of a slice in which its last sentence ends, or else its last word.
MAX_CUT_LENGTH = 1_000
# A line is tried once, at its start or behind such white space, not at each of its characters.
OVERSIZED_RUN = re.compile(
    rf"(?P<space>\s{{{MAX_SPACE_LENGTH},}})"
    rf"|(?:^|(?<=\s{{{MAX_SPACE_LENGTH}}}))(?P<line>[^\n]{{{MAX_LINE_LENGTH},}})",
    re.MULTILINE,
)
SENTENCE_END, WORD_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|[。！？]"), re.compile(r"(?<=\w)(?=\W)")


def iter_segments(text: str, kind: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, kind) of each segment: ordinary text is one, an oversized line is several of no kind."""
    done = 0
    for run in OVERSIZED_RUN.finditer(text):
        yield done, run.start(), kind
        if run["line"]:
            yield from ((start, end, "") for start, end in iter_slices(text, *run.span()))
        done = run.end()
    yield done, len(text), kind


def iter_slices(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets of overlapping slices of a line. One begins with a whole word, if the overlap has one."""
    while end - start > SLICE_LENGTH:
        cut = find_cut(text, start + SLICE_LENGTH - MAX_CUT_LENGTH, start + SLICE_LENGTH)
        yield start, cut
        start = find_word_start(text, cut - SLICE_OVERLAP, cut)
    yield start, end


def find_cut(text: str, first: int, last: int) -> int:
    """Return where the last sentence between two offsets ends, or else the last word, or else `last`."""
    for end in (SENTENCE_END, WORD_END):
        if cuts := [match.end() for match in end.finditer(text, first, last)]:
            return cuts[-1]
    return last
