"""Heartbeats of background processes, and which schedules were created."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now


class HeartbeatQuerySet(models.QuerySet):
    def note(self, name: str) -> None:
        """Note that this process is alive."""
        self.update_or_create(name=name, defaults={"seen_at": Now()}, create_defaults={"name": name, "seen_at": Now()})

    def age(self, name: str) -> timedelta | None:
        """Return the time since the last heartbeat, by the database's clock; None if there was none."""
        return self.filter(name=name).values_list(Now() - models.F("seen_at"), flat=True).first()


class Heartbeat(models.Model):
    """The time of a background process's last heartbeat."""

    name = models.CharField(primary_key=True, max_length=32)
    seen_at = models.DateTimeField()

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class SeededSchedule(models.Model):
    """The name of a periodic task's schedule that was created from the settings, whether it still exists or not."""

    name = models.CharField(primary_key=True, max_length=200)

    def __str__(self) -> str:
        return self.name
