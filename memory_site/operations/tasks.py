"""Heartbeats of worker and beat, outcomes of scheduled tasks, free space, maintenance, the ledger of erasures."""

import logging

from celery import shared_task
from celery.signals import beat_init, task_failure, task_prerun, task_success, worker_ready, worker_shutting_down

from memory_site.core.db.locks import AlreadyRunning
from memory_site.operations.backups.tasks import make_nightly_backup as make_nightly_backup
from memory_site.operations.backups.tasks import rotate_old_backups as rotate_old_backups
from memory_site.operations.backups.tasks import verify_chosen_backup as verify_chosen_backup
from memory_site.operations.disks import take_samples
from memory_site.operations.heartbeats import (
    HEARTBEAT_INTERVAL_SECONDS,
    start_beat_heartbeat,
    start_worker_heartbeat,
    stop_heartbeat,
)
from memory_site.operations.maintenance.run import MaintenanceRefused, run_maintenance
from memory_site.operations.metrics.exporter import start_exporter
from memory_site.operations.metrics.sampler import start_beat_sampler, start_worker_sampler
from memory_site.operations.models import Heartbeat
from memory_site.operations.namespaces.tasks import make_clone as make_clone
from memory_site.operations.offsite.tasks import append_erasures as append_erasures
from memory_site.operations.offsite.tasks import copy_new_backups as copy_new_backups
from memory_site.operations.offsite.tasks import rotate_old_copies as rotate_old_copies
from memory_site.operations.pitr.tasks import drill_recovery as drill_recovery
from memory_site.operations.pitr.tasks import take_due_base as take_due_base
from memory_site.operations.schedule_outcomes import note_failure, note_start, note_success

log = logging.getLogger(__name__)

worker_ready.connect(start_worker_heartbeat)
worker_ready.connect(start_exporter)
worker_ready.connect(start_worker_sampler)
beat_init.connect(start_beat_sampler)
worker_shutting_down.connect(stop_heartbeat)
beat_init.connect(start_beat_heartbeat)
task_prerun.connect(note_start)
task_success.connect(note_success)
task_failure.connect(note_failure)


@shared_task
def note_beat() -> None:
    """Note a heartbeat of beat. Beat sends it and a worker runs it, so it shows that beat, broker and worker work."""
    Heartbeat.objects.note_beat()
    Heartbeat.objects.forget_old()


@shared_task
def measure_disks() -> None:
    """Store a sample of the free space of this worker's machine, for the forecast of `disk`."""
    take_samples()


@beat_init.connect
def announce_beat(**kwargs: object) -> None:
    """Send a heartbeat at once: the schedule of a new installation starts with a full period of waiting."""
    note_beat.apply_async(retry=False, expires=HEARTBEAT_INTERVAL_SECONDS)


@shared_task
def maintain_database() -> int | None:
    """Do what is due in the database and store a report. Return the health score; None if another process does it.

    Safe to run twice, in parallel, or late.
    """
    try:
        *_, (_, _, report) = run_maintenance()
    except (AlreadyRunning, MaintenanceRefused) as error:
        log.info("No maintenance: %s", error)
        return None
    if report.problems:
        log.warning("Maintenance left %d problems: python manage.py maintain names them.", len(report.problems))
    return report.score
