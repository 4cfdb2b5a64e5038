"""Splitting of texts into chunks that fit an embedding model, at natural boundaries."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

from ingestion.splitters.boundaries import find_word_start
from memory_site.core.http.fields import check_visible

#: Maximum tokens of a piece, and the overlap with the previous one, in tokens of the vocabulary cl100k_base.
MAX_CHUNK_TOKENS, CHUNK_OVERLAP_TOKENS = 1_024, 20
#: Lengths in characters of a line and of white space that are certainly generated. A splitter takes minutes for such a
#: line and crashes on such white space: the line is passed in overlapping slices, the white space is dropped.
MAX_LINE_LENGTH, MAX_SPACE_LENGTH, SLICE_LENGTH, SLICE_OVERLAP = 5_000, 200, 4_000, 60
# Larger programs are generated, and parsing them may take minutes: they are split as plain text.
MAX_PROGRAM_LENGTH = 2**18
LEADING_BLANK_LINES = re.compile(r"(?:\s*\n)?")
OVERSIZED_RUN = re.compile(rf"(?P<space>\s{{{MAX_SPACE_LENGTH},}})|(?P<line>[^\n]{{{MAX_LINE_LENGTH},}})")


@dataclass(frozen=True)
class Chunk:
    """A part of a text, with the headers above it in front. Lines are those of the part, counted from 1; `end_line` is
    included."""

    text: str
    position: int
    start_line: int
    end_line: int
    headers: str = ""

    @property
    def content(self) -> str:
        return self.headers + self.text


def split_into_chunks(text: str, kind: str = "") -> list[Chunk]:
    """Split a text. `kind` is the file's suffix without its dot; a splitter may use the structure it implies."""
    parts = enumerate(iter_parts(text, kind))
    return [Chunk(part, place, *lines, headers) for place, (headers, part, lines) in parts]


def iter_parts(text: str, kind: str) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Yield (headers, part, (first line, last line)) of each chunk, without leading blank lines."""
    split_into_pieces = import_string(settings.SPLITTER)
    newlines = [offset for offset, character in enumerate(text) if character == "\n"]
    structure = "" if kind == "py" and len(text) > MAX_PROGRAM_LENGTH else kind
    for start, segment, segment_kind in iter_segments(text, structure):
        for offset, content, headers in split_into_pieces(segment, segment_kind):
            if has_visible_text(content):
                visible = content[count_leading_blank_characters(content) :]
                first = start + offset + len(content) - len(visible)
                last = start + offset + len(content.rstrip()) - 1
                yield headers, visible, (bisect_left(newlines, first) + 1, bisect_left(newlines, last) + 1)


def count_leading_blank_characters(content: str) -> int:
    match = LEADING_BLANK_LINES.match(content)
    return match.end() if match else 0


def iter_segments(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, text, kind) of each segment: ordinary text is one, an oversized line is several slices."""
    done = 0
    for run in OVERSIZED_RUN.finditer(text):
        yield done, text[done : run.start()], kind
        if run["line"]:
            yield from ((start, text[start:end], "") for start, end in iter_slices(text, *run.span()))
        done = run.end()
    yield done, text[done:], kind


def iter_slices(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets of overlapping slices of a line. One begins with a whole word, if the overlap has one."""
    for first in range(start, max(end - SLICE_OVERLAP, start + 1), SLICE_LENGTH):
        begin = first if first == start else find_word_start(text, first, first + SLICE_OVERLAP)
        yield begin, min(first + SLICE_LENGTH + SLICE_OVERLAP, end)


def has_visible_text(content: str) -> bool:
    try:
        return bool(check_visible(content))
    except ValueError:
        return False
