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
# Larger programs are generated, and parsing them may take minutes: they are split as plain text.
MAX_PROGRAM_LENGTH = 2**18
LEADING_BLANK_LINES = re.compile(r"(?:\s*\n)?")


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
    for offset, content, headers in split_into_pieces(text, structure):
        if has_visible_text(content):
            visible = content[count_leading_blank_characters(content) :]
            first = offset + len(content) - len(visible)
            last = offset + len(content.rstrip()) - 1
            yield headers, visible, (bisect_left(newlines, first) + 1, bisect_left(newlines, last) + 1)


def count_leading_blank_characters(content: str) -> int:
    match = LEADING_BLANK_LINES.match(content)
    return match.end() if match else 0


def has_visible_text(content: str) -> bool:
    try:
        return bool(check_visible(content))
    except ValueError:
        return False
