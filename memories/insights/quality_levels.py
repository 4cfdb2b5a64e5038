"""How good insights are, in words and in tenths."""

from enum import StrEnum
from typing import NamedTuple

from django.db.models import Q

#: Where insights begin to be of middle and of high quality, in tenths: below the first, unused ones are pruned.
MIN_MIDDLE_TENTHS, MIN_HIGH_TENTHS, TENTHS = 4, 7, 10


class QualityLevel(StrEnum):
    LOW = "low"
    MIDDLE = "middle"
    HIGH = "high"


class QualityRange(NamedTuple):
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


LEVEL_RANGES = {
    QualityLevel.LOW: QualityRange(0, MIN_MIDDLE_TENTHS),
    QualityLevel.MIDDLE: QualityRange(MIN_MIDDLE_TENTHS, MIN_HIGH_TENTHS),
    QualityLevel.HIGH: QualityRange(MIN_HIGH_TENTHS, TENTHS),
}
TENTH_RANGES = {str(start): QualityRange(start, start + 1) for start in range(TENTHS)}
QUALITY_RANGES = {**LEVEL_RANGES, **TENTH_RANGES}
#: What people choose from.
QUALITY_CHOICES = [
    *((level, f"{level}, {band.title}") for level, band in LEVEL_RANGES.items()),
    *((n, each.title) for n, each in TENTH_RANGES.items()),
]


def get_quality_level(quality: float) -> QualityLevel:
    return next(level for level, band in reversed(LEVEL_RANGES.items()) if quality >= band.start / TENTHS)
