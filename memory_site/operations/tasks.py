"""Heartbeats of worker and beat."""

from celery import shared_task
from celery.signals import beat_init, worker_ready, worker_shutting_down

from memory_site.operations.heartbeats import HEARTBEAT_INTERVAL_SECONDS, start_worker_heartbeat, stop_heartbeat
from memory_site.operations.models import Heartbeat

worker_ready.connect(start_worker_heartbeat)
worker_shutting_down.connect(stop_heartbeat)


@shared_task
def note_beat() -> None:
    """Note a heartbeat of beat. Beat sends it and a worker runs it, so it shows that beat, broker and worker work."""
    Heartbeat.objects.note_beat()
    Heartbeat.objects.forget_old()


@beat_init.connect
def announce_beat(**kwargs: object) -> None:
    """Send a heartbeat at once: the schedule of a new installation starts with a full period of waiting."""
    note_beat.apply_async(retry=False, expires=HEARTBEAT_INTERVAL_SECONDS)
