"""Heartbeats of the processes."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

from memory_site.core.db.clocks import measure_clock_offset
from memory_site.core.leases.process import format_process_name, has_ended, identify_process
from sessions_app.key_rotation import name_first_key

#: Two beats and a half. A process that is silent for longer is missing.
MAX_HEARTBEAT_AGE = timedelta(seconds=40)
#: A process that was not stopped on purpose is missed for so long; then it is forgotten.
MAX_MISSED_TIME = timedelta(hours=1)


class ProcessKind(models.TextChoices):
    WEB = "web"
    WORKER = "worker"
    BEAT = "beat"


class HeartbeatQuerySet(models.QuerySet["Heartbeat"]):
    def note(self, kind: str, connections: int = 0) -> None:
        """Note that this process is alive, and its clock. `connections` is how many of the database it may open."""
        values = {"kind": kind, "process": identify_process(), "connections": connections, "seen_at": Now()}
        values |= {"clock_offset": measure_clock_offset(), "session_key": name_first_key()}
        name = f"{kind} {format_process_name()}"
        self.update_or_create(name=name, defaults=values, create_defaults=values | {"started_at": Now()})

    def note_beat(self) -> None:
        """Note that beat, broker and worker work together: of several beats, one schedules."""
        self.update_or_create(name=ProcessKind.BEAT, defaults={"kind": ProcessKind.BEAT, "seen_at": Now()})

    def remove_own(self, kind: str) -> None:
        """Remove this process, which stops on purpose."""
        self.filter(name=f"{kind} {format_process_name()}").delete()

    def remove_ended(self) -> None:
        """Remove what has ended on this machine: who starts here takes its place."""
        ended = [name for name, process in self.values_list("name", "process") if has_ended(process)]
        self.filter(name__in=ended).delete()

    def forget_old(self) -> None:
        """Remove what was missing for long."""
        self.filter(seen_at__lt=Now() - MAX_MISSED_TIME).delete()

    def with_age(self) -> "HeartbeatQuerySet":
        """Annotate `age`, the time since the last heartbeat by the database's clock; latest first."""
        return self.annotate(age=Now() - models.F("seen_at")).order_by("-seen_at")

    def alive(self) -> "HeartbeatQuerySet":
        return self.filter(seen_at__gt=Now() - MAX_HEARTBEAT_AGE)


class Heartbeat(models.Model):
    """The time of a process's last heartbeat. One that stops on purpose removes its row."""

    name = models.CharField(primary_key=True, max_length=255, help_text="Kind, host and process id.")
    kind = models.CharField(max_length=16, choices=ProcessKind)
    process = models.TextField(default="", help_text="What identifies it among those of all machines.")
    connections = models.PositiveIntegerField(default=0, help_text="Connections to the database that it may open.")
    seen_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, help_text="The first heartbeat of this process.")
    clock_offset = models.FloatField(default=0, help_text="Seconds by which its clock is ahead of the database's.")
    session_key = models.CharField(
        max_length=8, db_default="", help_text="The name of the key with which it encrypts histories; empty for none."
    )
    age: timedelta  # by `with_age`

    objects = HeartbeatQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
