"""Positions in the write-ahead log, and the names of the files of 16 MB (segments) that hold them."""

import re
from dataclasses import dataclass
from typing import Self

from memory_site.embedded.wal_archive.program import SEGMENT_BYTES

#: Segments in 4 GB of log, by which PostgreSQL divides a number between two parts of a file's name.
SEGMENTS_PER_LOG = (1 << 32) // SEGMENT_BYTES


@dataclass(frozen=True, order=True)
class Segment:
    """A file of the log: the timeline that wrote it and its number since the start of the database."""

    timeline: int
    number: int

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the segment with that file name, or None: it may be a history or another file."""
        if not re.fullmatch("[0-9A-F]{24}", name):
            return None
        timeline, log, rest = (int(name[start : start + 8], 16) for start in (0, 8, 16))
        return cls(timeline, log * SEGMENTS_PER_LOG + rest)

    @classmethod
    def parse_known(cls, name: str) -> Self:
        """Return the segment with a name that PostgreSQL gave. Raises ValueError for another one."""
        segment = cls.parse(name)
        if segment is None:
            raise ValueError(f"{name} is no segment")
        return segment

    @classmethod
    def at(cls, timeline: int, position: int) -> Self:
        """Return the segment that holds a position of the log."""
        return cls(timeline, position // SEGMENT_BYTES)

    @property
    def name(self) -> str:
        return f"{self.timeline:08X}{self.number // SEGMENTS_PER_LOG:08X}{self.number % SEGMENTS_PER_LOG:08X}"

    def __str__(self) -> str:
        return self.name


def parse_lsn(text: str) -> int:
    """Return a position of the log, which PostgreSQL writes as `16/B374D848`, in bytes."""
    log, offset = text.split("/")
    return (int(log, 16) << 32) + int(offset, 16)
