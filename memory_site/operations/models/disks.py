"""How much space the file systems had, for a forecast."""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import models
from django.db.models.functions import Now

#: Samples are kept for so long: the rate of growth is that of the last week.
SAMPLE_RETENTION = timedelta(days=7)
SECONDS_A_DAY = 86_400


class FreePoint(NamedTuple):
    """Days since the epoch, and free bytes."""

    day: float
    free: int


class DiskSampleQuerySet(models.QuerySet["DiskSample"]):
    def of(self, machine: str, path: str) -> "DiskSampleQuerySet":
        return self.filter(machine=machine, path=path)

    def list_hourly(self) -> list[FreePoint]:
        """Return the most free space of each hour: a scratch database or a sort is no growth."""
        hours: dict[datetime, int] = {}
        for taken_at, free in self.order_by("taken_at").values_list("taken_at", "free_bytes"):
            hour = taken_at.replace(minute=0, second=0, microsecond=0)
            hours[hour] = max(free, hours.get(hour, 0))
        return [FreePoint(hour.timestamp() / SECONDS_A_DAY, free) for hour, free in hours.items()]

    def forget_old(self) -> None:
        self.filter(taken_at__lt=Now() - SAMPLE_RETENTION).delete()


class DiskSample(models.Model):
    """The space of one file system at one time, taken by a worker of its machine."""

    machine = models.CharField(max_length=255, help_text="Host name.")
    path = models.TextField(help_text="The first of the site's directories on this file system.")
    free_bytes = models.BigIntegerField()
    total_bytes = models.BigIntegerField()
    taken_at = models.DateTimeField(db_default=Now())

    objects = DiskSampleQuerySet.as_manager()

    class Meta:
        indexes = [models.Index("machine", "path", "taken_at", name="disk_sample_of_path")]

    def __str__(self) -> str:
        return f"{self.machine}:{self.path}"
