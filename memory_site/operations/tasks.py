"""Heartbeats of worker and beat."""

import threading
import time

from celery import shared_task
from celery.signals import beat_init, worker_ready
from django.db import Error, connection

from memory_site.operations.models import Heartbeat

HEARTBEAT_INTERVAL_SECONDS = 10


@shared_task
def note_beat() -> None:
    """Note a heartbeat of beat. Beat sends it and a worker runs it, so it shows that beat, broker and worker work."""
    Heartbeat.objects.note("beat")


@beat_init.connect
def announce_beat(**kwargs: object) -> None:
    """Send a heartbeat at once: the schedule of a new installation starts with a full period of waiting."""
    note_beat.apply_async(retry=False, expires=HEARTBEAT_INTERVAL_SECONDS)


@worker_ready.connect
def start_heartbeat(**kwargs: object) -> None:
    threading.Thread(target=run_heartbeat, name="heartbeat", daemon=True).start()


def run_heartbeat() -> None:
    while True:
        try:
            Heartbeat.objects.note("worker")
        except Error:
            pass  # the database is away, which the health check reports
        finally:
            connection.close()
        time.sleep(HEARTBEAT_INTERVAL_SECONDS)
