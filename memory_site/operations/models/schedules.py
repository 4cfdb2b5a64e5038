"""Which schedules were created."""

from django.db import models


class SeededSchedule(models.Model):
    """The name of a periodic task's schedule that was created from the settings, whether it still exists or not."""

    name = models.CharField(primary_key=True, max_length=200)

    def __str__(self) -> str:
        return self.name
