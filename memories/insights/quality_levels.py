"""Ranges of an insight's quality: three levels, and tenths."""

from enum import StrEnum
from typing import NamedTuple

from django.db.models import Q

#: Where middle and high quality begin, in tenths. Unused insights below the first are pruned.
MIN_MIDDLE_TENTHS, MIN_HIGH_TENTHS, TENTHS = 4, 7, 10


class QualityLevel(StrEnum):
    LOW = "low"
    MIDDLE = "middle"
    HIGH = "high"


class QualityRange(NamedTuple):
    """A half-open range in tenths; the last one includes quality 1."""

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
#: Keys are the values of the filter, "low" and "0" among them.
QUALITY_RANGES: dict[str, QualityRange] = {**{str(level): span for level, span in LEVEL_RANGES.items()}, **TENTH_RANGES}
#: Options of the console's filter.
QUALITY_CHOICES = [
    *((level, f"{level}, {span.title}") for level, span in LEVEL_RANGES.items()),
    *((tenth, span.title) for tenth, span in TENTH_RANGES.items()),
]


def get_quality_level(quality: float) -> QualityLevel:
    return next(level for level, span in reversed(LEVEL_RANGES.items()) if quality >= span.start / TENTHS)
