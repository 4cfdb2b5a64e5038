"""Better boundaries for the pieces of a text: a piece begins with a word, and a header stays with what it heads.

A piece is given by its offsets, text[start:end]. Pieces are in the order of the text and may overlap.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from ingestion.splitters.outline import Section

Span = tuple[int, int]
#: Characters. A shorter piece says nothing and would be found for its few words: it joins its neighbour.
MIN_PIECE_LENGTH = 15
INSIDE_A_WORD, WORD_START = re.compile(r"(?<=\w)(?=\w)"), re.compile(r"(?<!\w)(?=\w)")
# What may stand between a header and the end of its piece. Possessive: nothing is tried twice.
BLANK_OR_COMMENTS = re.compile(r"(?:\s|#[^\n]*+)*+")


def drop_contained(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Leave out a piece that the one before contains, and begin an overlapping one with a whole word."""
    done = 0
    for start, end in spans:
        if end > done:
            yield find_word_start(text, start, done), end
            done = end


def find_word_start(text: str, start: int, limit: int) -> int:
    """Return where the next word begins, if `start` lies inside a word and another one begins before `limit`."""
    found = WORD_START.search(text, start, limit) if INSIDE_A_WORD.match(text, start) else None
    return found.start() if found else start


def move_headers(text: str, spans: Sequence[Span], sections: Sequence[Section]) -> Iterator[Span]:
    """Move the headers at the end of a piece to the next one. A piece of nothing else is left out."""
    starts = [section.start for section in sections]
    carried = len(text)
    for start, end in spans[:-1]:
        start = min(start, carried)
        carried = find_trailing_headers(text, (start, end), sections, bisect_left(starts, end))
        if carried == end:
            carried = len(text)
        else:
            end = start + len(text[start:carried].rstrip())
        if start < end:
            yield start, end
    for start, end in spans[-1:]:
        yield min(start, carried), end


def find_trailing_headers(text: str, span: Span, sections: Sequence[Section], count: int) -> int:
    """Return where the headers begin, of the first `count` sections, that end the piece or are cut by its end.

    The end of the piece, if there are none.
    """
    start, end = find_line_start(text, span[0]), span[1]
    for section in reversed(sections[:count]):
        if section.start < start or not is_blank(text, section.body, end):
            break
        end = section.start
    return end


def is_blank(text: str, start: int, end: int) -> bool:
    """Return whether there is nothing but white space and comments between two offsets, or nothing at all."""
    found = BLANK_OR_COMMENTS.match(text, start, end)
    return start >= end or (found is not None and found.end() == end)


def join_small(text: str, spans: Iterable[Span], fits: Callable[[str], bool]) -> list[Span]:
    """Join pieces shorter than MIN_PIECE_LENGTH with the next one, or with the one before."""
    joined: list[Span] = []
    for span in spans:
        if joined and any(is_small(text, each) for each in (joined[-1], span)):
            both = joined[-1][0], span[1]
            if fits(text[slice(*both)]):
                joined[-1] = both
                continue
        joined.append(span)
    return joined


def is_small(text: str, span: Span) -> bool:
    return len(text[slice(*span)].strip()) < MIN_PIECE_LENGTH


def iter_contexts(text: str, spans: Iterable[Span], sections: Sequence[Section]) -> Iterator[list[str]]:
    """Yield for each piece the headers above it of the sections that it lies in, outermost first."""
    enclosing: list[Section] = []
    waiting = iter(sections)
    coming = next(waiting, None)
    for span in spans:
        start = find_line_start(text, span[0])
        while coming and coming.body <= start:
            enclosing = [section for section in enclosing if section.end > coming.start] + [coming]
            coming = next(waiting, None)
        yield [section.header for section in enclosing if section.end > start]


def find_line_start(text: str, start: int) -> int:
    """Return where the line begins if only white space stands before `start`, else `start`."""
    line_start = text.rfind("\n", 0, start) + 1
    return start if text[line_start:start].strip() else line_start
