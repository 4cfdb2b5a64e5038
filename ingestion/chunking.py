"""Splitting of texts into chunks that fit an embedding model, at natural boundaries."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string

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
    """A part of a text. Lines are counted from 1; `end_line` is included."""

    content: str
    position: int
    start_line: int
    end_line: int


def split_into_chunks(text: str, kind: str = "") -> list[Chunk]:
    """Split a text. `kind` is the file's suffix without its dot; a splitter may use the structure it implies."""
    return [Chunk(content, place, *lines) for place, (content, lines) in enumerate(iter_chunks(text, kind))]


def iter_chunks(text: str, kind: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (content, (first line, last line)) of each chunk, without leading blank lines."""
    split_into_pieces = import_string(settings.SPLITTER)
    newlines = [offset for offset, character in enumerate(text) if character == "\n"]
    structure = "" if kind == "py" and len(text) > MAX_PROGRAM_LENGTH else kind
    for start, segment, segment_kind in iter_segments(text, structure):
        for offset, content in split_into_pieces(segment, segment_kind):
            if has_visible_text(content):
                visible = content[count_leading_blank_characters(content) :]
                first = start + offset + len(content) - len(visible)
                last = start + offset + len(content.rstrip()) - 1
                yield visible, (bisect_left(newlines, first) + 1, bisect_left(newlines, last) + 1)


def count_leading_blank_characters(content: str) -> int:
    match = LEADING_BLANK_LINES.match(content)
    return match.end() if match else 0


def iter_segments(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, text, kind) of each segment: ordinary text is one, an oversized line is several slices."""
    done = 0
    for run in OVERSIZED_RUN.finditer(text):
        yield done, text[done : run.start()], kind
        if run["line"]:
            yield from (
                (start, text[start : start + SLICE_LENGTH + SLICE_OVERLAP], "")
                for start in range(*run.span(), SLICE_LENGTH)
            )
        done = run.end()
    yield done, text[done:], kind


def has_visible_text(content: str) -> bool:
    try:
        return bool(check_visible(content))
    except ValueError:
        return False
