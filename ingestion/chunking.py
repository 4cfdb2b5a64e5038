"""Texts cut into chunks that a model can use, at boundaries a reader would choose."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

from memory_site.core.http.fields import check_visible

#: Characters of a line, and of white space, that nobody wrote by hand. A splitter takes minutes over such a line and
#: dies of such white space, so it gets the line in slices, which share some characters, and the white space not at all.
MAX_LINE_LENGTH, MAX_SPACE_LENGTH, SLICE_LENGTH, SLICE_OVERLAP = 5_000, 200, 4_000, 60
# Larger programs were written by programs, and their structure may take minutes to find.
MAX_PROGRAM_LENGTH = 2**18
LEADING_BLANK_LINES = re.compile(r"(?:\s*\n)?")
OVERSIZED_RUN = re.compile(rf"(?P<space>\s{{{MAX_SPACE_LENGTH},}})|(?P<line>[^\n]{{{MAX_LINE_LENGTH},}})")


@dataclass(frozen=True)
class Chunk:
    """A part of a text: lines are counted from 1, the last one included."""

    content: str
    position: int
    start_line: int
    end_line: int


def split_into_chunks(text: str, kind: str = "") -> list[Chunk]:
    """`kind` is the file's suffix without its dot; a splitter may cut by the structure it tells of."""
    return [Chunk(content, place, *lines) for place, (content, lines) in enumerate(iter_chunks(text, kind))]


def iter_chunks(text: str, kind: str) -> Iterator[tuple[str, tuple[int, int]]]:
    pieces = import_string(settings.SPLITTER)
    ends = [place for place, character in enumerate(text) if character == "\n"]
    structure = "" if kind == "py" and len(text) > MAX_PROGRAM_LENGTH else kind
    for start, stretch, how in iter_segments(text, structure):
        for offset, content in pieces(stretch, how):
            if is_visible(content):
                blank = LEADING_BLANK_LINES.match(content).end()
                first, last = start + offset + blank, start + offset + len(content.rstrip()) - 1
                yield content[blank:], (bisect_left(ends, first) + 1, bisect_left(ends, last) + 1)


def iter_segments(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Where each begins, itself, and how it is cut: ordinary text is one, a line of monstrous length is many."""
    done = 0
    for found in OVERSIZED_RUN.finditer(text):
        yield done, text[done : found.start()], kind
        if found["line"]:
            yield from (
                (start, text[start : start + SLICE_LENGTH + SLICE_OVERLAP], "")
                for start in range(*found.span(), SLICE_LENGTH)
            )
        done = found.end()
    yield done, text[done:], kind


def is_visible(content: str) -> bool:
    try:
        return bool(check_visible(content))
    except ValueError:
        return False
