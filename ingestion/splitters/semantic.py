"""Splitting by structure: programs by syntax tree, Markdown by headings, prose by sentences.

The header of each class, function or section stands in front of each of its pieces. The vocabulary comes with the
package; no model is needed.
"""

from collections.abc import Iterator
from functools import cache

import tree_sitter_python
from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

from ingestion.chunking import CHUNK_OVERLAP_TOKENS, MAX_CHUNK_TOKENS
from ingestion.splitters.boundaries import Span, drop_contained, iter_contexts, join_small, move_headers
from ingestion.splitters.outline import find_sections
from ingestion.splitters.segments import OVERSIZED_RUN, iter_segments

TIKTOKEN_MODEL = "gpt-4"
#: Tokens that a piece leaves for the headers in front of it, and for a short neighbour.
RESERVED_TOKENS = 64


def split_into_pieces(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, piece, headers). The headers are whole lines, or empty."""
    if fits(text):
        yield 0, text.rstrip(), ""
        return
    sections = find_sections(text, kind)
    spans = list(drop_contained(text, iter_spans(text, kind)))
    spans = join_small(text, split_oversized(text, move_headers(text, spans, sections)), fits)
    for (start, end), headers in zip(spans, iter_contexts(text, spans, sections), strict=True):
        piece = text[start:end]
        yield start, piece, join_headers(headers, piece)


def iter_spans(text: str, kind: str) -> Iterator[Span]:
    for first, last, segment_kind in iter_segments(text, kind):
        for offset, piece in get_splitter(segment_kind).chunk_indices(text[first:last]):
            yield first + offset, first + offset + len(piece)


def split_oversized(text: str, spans: Iterator[Span]) -> Iterator[Span]:
    """Split the pieces again that are too large with the header moved to them."""
    for start, end in spans:
        if fits(piece := text[start:end]):
            yield start, end
        else:
            yield from ((start + first, start + last) for first, last in iter_spans(piece, ""))


def join_headers(headers: list[str], piece: str) -> str:
    """Return as many of the headers, the innermost first, as fit in front of the piece."""
    for place in range(len(headers)):
        lines = "".join(f"{header}\n" for header in headers[place:])
        if fits(lines + piece):
            return lines
    return ""


def fits(text: str) -> bool:
    """Return whether the text has at most MAX_CHUNK_TOKENS tokens, of which each has a byte at least.

    A longer text with an oversized line does not fit; it would take too long to measure.
    """
    if len(text.encode()) <= MAX_CHUNK_TOKENS:
        return True
    return OVERSIZED_RUN.search(text) is None and len(get_measure().chunks(text)) == 1


@cache
def get_measure() -> TextSplitter:
    return TextSplitter.from_tiktoken_model(TIKTOKEN_MODEL, MAX_CHUNK_TOKENS, trim=False)


@cache
def get_splitter(kind: str) -> TextSplitter | MarkdownSplitter | CodeSplitter:
    """Return the splitter of this kind, cached: loading a vocabulary takes a tenth of a second."""
    sizes = MAX_CHUNK_TOKENS - RESERVED_TOKENS, CHUNK_OVERLAP_TOKENS
    if kind == "py":
        return CodeSplitter.from_tiktoken_model(tree_sitter_python.language(), TIKTOKEN_MODEL, *sizes)
    return (MarkdownSplitter if kind == "md" else TextSplitter).from_tiktoken_model(TIKTOKEN_MODEL, *sizes)
