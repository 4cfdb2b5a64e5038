"""The schedules of periodic tasks: created once from the settings, then the operator's. Of several beats one schedules.

A schedule that a later release adds is created at its first start; one that a release removes is deleted. Everything
else of a row (enabled, interval or crontab, arguments, expiry) is left to the console.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections, transaction
from django.db.models import ProtectedError
from django.db.models.signals import pre_delete
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from memory_site.core.db.locks import advisory_xact_lock
from memory_site.core.leases.leases import HeldLease, take_lease
from memory_site.operations.heartbeats import stop_heartbeat
from memory_site.operations.models import SeededSchedule

#: Seconds between two attempts of a beat that stands by. The lease lasts thirty.
STANDBY_INTERVAL_SECONDS = 5.0

#: An entry of settings.CELERY_BEAT_SCHEDULE.
Entry = Mapping[str, Any]


class SeedingScheduler(DatabaseScheduler):
    """Beat's scheduler. Its base class would set every schedule of the settings again at each start.

    Any number of beats may run: the one that holds the lease schedules, the others stand by.
    """

    _lease: HeldLease | None = None

    def tick(self, *args: Any, **options: Any) -> float:
        """Send one task that is due, if this beat schedules. Return the seconds until the next tick."""
        return super().tick(*args, **options) if self.is_leading() else STANDBY_INTERVAL_SECONDS

    def is_leading(self) -> bool:
        """Renew the lease, or take it. Return whether this beat has it now."""
        close_old_connections()
        try:
            if self._lease is None or not self._lease.renew():
                self._lease = take_lease("beat")
                self.forget_schedule()
            return self._lease is not None
        except Error:  # the database is away; no task could do anything
            return False

    def forget_schedule(self) -> None:
        """Have the schedule read again: another beat was at work since."""
        self._dirty.clear()
        self._initial_read, self._heap = True, None

    def close(self) -> None:
        """Let another beat take over at once."""
        super().close()
        stop_heartbeat()
        if self._lease is not None:
            with suppress(Error):
                self._lease.release()
            self._lease = None

    def setup_schedule(self) -> None:
        seed_schedules(self.app.conf.beat_schedule)


@transaction.atomic
def seed_schedules(entries: Mapping[str, Entry]) -> None:
    """Create the schedules that were not created before, and delete those that are no longer in the settings."""
    advisory_xact_lock("schedules")
    seeded = set(SeededSchedule.objects.values_list("name", flat=True))
    delete_schedules(seeded - entries.keys())
    for name, entry in entries.items():
        if name in seeded:
            follow_renamed_task(name, entry)
        else:
            create_schedule(name, entry)


def create_schedule(name: str, entry: Entry) -> None:
    """Create a schedule. One of that name may exist in stores that are older than the list of seeded schedules."""
    if not PeriodicTask.objects.filter(name=name).exists():
        store_entry(name, entry)
    SeededSchedule.objects.create(name=name)


def store_entry(name: str, entry: Entry) -> None:
    """Create or set a task's row. The description stays in the settings: a later release may say it better."""
    ModelEntry.from_entry(name, **{key: value for key, value in entry.items() if key != "description"})


@transaction.atomic
def reset_schedule(task: PeriodicTask) -> bool:
    """Give a built-in task its times and arguments of the settings. Return False for the operator's own."""
    if (entry := settings.CELERY_BEAT_SCHEDULE.get(task.name)) is None:
        return False
    store_entry(task.name, entry)
    return True


def follow_renamed_task(name: str, entry: Entry) -> None:
    """Store the function's present name: an earlier one would do nothing but fail."""
    PeriodicTask.objects.filter(name=name).exclude(task=entry["task"]).update(task=entry["task"])


def delete_schedules(names: Iterable[str]) -> None:
    PeriodicTask.objects.filter(name__in=names).delete()
    SeededSchedule.objects.filter(name__in=names).delete()


def connect_protection() -> None:
    for model in (IntervalSchedule, CrontabSchedule):
        pre_delete.connect(protect_used_schedule, sender=model)


def protect_used_schedule(instance: IntervalSchedule | CrontabSchedule, **_: Any) -> None:
    """Refuse to delete an interval or a crontab with which tasks run: they would be deleted along.

    Raise ProtectedError.
    """
    if tasks := set(instance.periodictask_set.all()):
        names = ", ".join(sorted(task.name for task in tasks))
        raise ProtectedError(f"{names} run by it.", tasks)
