"""The periods over which the dashboard draws, each in steps of one length that begin at round times, in UTC."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

#: A Monday: steps of an hour, a day and a week are counted from here.
ORIGIN = datetime(2000, 1, 3, tzinfo=UTC)


class Period(NamedTuple):
    name: str
    title: str
    step: timedelta
    steps: int
    label: str  # strftime of a step's start

    def list_starts(self) -> list[datetime]:
        """Return the start of each step, oldest first; the last one contains now."""
        latest = ORIGIN + (timezone.now() - ORIGIN) // self.step * self.step
        return [latest - ago * self.step for ago in reversed(range(self.steps))]


PERIODS = {
    period.name: period
    for period in (
        Period("24h", "24 hours", timedelta(hours=1), 24, "%H:%M"),
        Period("30d", "30 days", timedelta(days=1), 30, "%m-%d"),
        Period("1y", "1 year", timedelta(days=7), 53, "%Y-%m-%d"),
    )
}
DEFAULT_PERIOD = PERIODS["30d"]
