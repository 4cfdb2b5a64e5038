"""How good insights are, in words and in tenths."""

from enum import StrEnum
from typing import NamedTuple

from django.db.models import Q

#: Where insights begin to be of middle and of high quality, in tenths: below the first, unused ones are pruned.
MIDDLE, HIGH, TENTHS = 4, 7, 10


class Level(StrEnum):
    LOW = "low"
    MIDDLE = "middle"
    HIGH = "high"


class Band(NamedTuple):
    """From so many tenths to so many, without the end; the last one holds the best."""

    start: int
    end: int

    @property
    def title(self) -> str:
        return f"{self.start / TENTHS:.1f} – {self.end / TENTHS:.1f}"

    @property
    def condition(self) -> Q:
        start = Q(quality__gte=self.start / TENTHS)
        return start if self.end == TENTHS else start & Q(quality__lt=self.end / TENTHS)


LEVELS = {Level.LOW: Band(0, MIDDLE), Level.MIDDLE: Band(MIDDLE, HIGH), Level.HIGH: Band(HIGH, TENTHS)}
TENTH = {str(start): Band(start, start + 1) for start in range(TENTHS)}
BANDS = {**LEVELS, **TENTH}
#: What people choose from.
NAMED = [
    *((level, f"{level}, {band.title}") for level, band in LEVELS.items()),
    *((n, each.title) for n, each in TENTH.items()),
]


def level_of(quality: float) -> Level:
    return next(level for level, band in reversed(LEVELS.items()) if quality >= band.start / TENTHS)
