"""The schedules of periodic tasks: created once from the settings, then the operator's.

A schedule that a later release adds is created at its first start; one that a release removes is deleted. Everything
else of a row (enabled, interval or crontab, arguments, expiry) and its deletion are left to the console.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from memory_site.operations.models import SeededSchedule

#: An entry of settings.CELERY_BEAT_SCHEDULE.
Entry = Mapping[str, Any]


class SeedingScheduler(DatabaseScheduler):
    """Beat's scheduler. Its base class would set every schedule of the settings again at each start."""

    def setup_schedule(self) -> None:
        seed_schedules(self.app.conf.beat_schedule)


@transaction.atomic
def seed_schedules(entries: Mapping[str, Entry]) -> None:
    """Create the schedules that were not created before, and delete those that are no longer in the settings."""
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
        ModelEntry.from_entry(name, **entry)
    SeededSchedule.objects.create(name=name)


def follow_renamed_task(name: str, entry: Entry) -> None:
    """Store the function's present name: an earlier one would do nothing but fail."""
    PeriodicTask.objects.filter(name=name).exclude(task=entry["task"]).update(task=entry["task"])


def delete_schedules(names: Iterable[str]) -> None:
    PeriodicTask.objects.filter(name__in=names).delete()
    SeededSchedule.objects.filter(name__in=names).delete()
