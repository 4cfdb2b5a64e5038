"""Texts cut into chunks that a model can use, at boundaries a reader would choose."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

from memory_site.core.http.fields import visible

#: Characters of a line, and of white space, that nobody wrote by hand. A splitter takes minutes over such a line and
#: dies of such white space, so it gets the line in slices, which share some characters, and the white space not at all.
LONG_LINE, LONG_SPACE, SLICE, SHARED = 5_000, 200, 4_000, 60
# Larger programs were written by programs, and their structure may take minutes to find.
LARGEST_PROGRAM = 2**18
BLANK_LINES = re.compile(r"(?:\s*\n)?")
STRETCHES = re.compile(rf"(?P<space>\s{{{LONG_SPACE},}})|(?P<line>[^\n]{{{LONG_LINE},}})")


@dataclass(frozen=True)
class Chunk:
    """A part of a text: lines are counted from 1, the last one included."""

    content: str
    position: int
    start_line: int
    end_line: int


def chunks(text: str, kind: str = "") -> list[Chunk]:
    """`kind` is the file's suffix without its dot; a splitter may cut by the structure it tells of."""
    return [Chunk(content, place, *lines) for place, (content, lines) in enumerate(parts(text, kind))]


def parts(text: str, kind: str) -> Iterator[tuple[str, tuple[int, int]]]:
    pieces = import_string(settings.SPLITTER)
    ends = [place for place, character in enumerate(text) if character == "\n"]
    structure = "" if kind == "py" and len(text) > LARGEST_PROGRAM else kind
    for start, stretch, how in stretches(text, structure):
        for offset, content in pieces(stretch, how):
            if is_visible(content):
                blank = BLANK_LINES.match(content).end()
                first, last = start + offset + blank, start + offset + len(content.rstrip()) - 1
                yield content[blank:], (bisect_left(ends, first) + 1, bisect_left(ends, last) + 1)


def stretches(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Where each begins, itself, and how it is cut: ordinary text is one, a line of monstrous length is many."""
    done = 0
    for found in STRETCHES.finditer(text):
        yield done, text[done : found.start()], kind
        if found["line"]:
            yield from ((start, text[start : start + SLICE + SHARED], "") for start in range(*found.span(), SLICE))
        done = found.end()
    yield done, text[done:], kind


def is_visible(content: str) -> bool:
    try:
        return bool(visible(content))
    except ValueError:
        return False
