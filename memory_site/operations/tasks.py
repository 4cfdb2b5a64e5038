"""Signs of life."""

import threading
import time

from celery import shared_task
from celery.signals import beat_init, worker_ready
from django.db import Error, connection

from memory_site.operations.models import Heartbeat

HEARTBEAT_INTERVAL_SECONDS = 10


@shared_task
def note_beat() -> None:
    """Sent by beat, run by a worker: that it runs shows that beat, broker and worker all do their part."""
    Heartbeat.objects.note("beat")


@beat_init.connect
def announce_beat(**kwargs: object) -> None:
    """At once, where the schedule of a new installation would let a whole period pass first."""
    note_beat.apply_async(retry=False, expires=HEARTBEAT_INTERVAL_SECONDS)


@worker_ready.connect
def start_heartbeat(**kwargs: object) -> None:
    threading.Thread(target=run_heartbeat, name="heart", daemon=True).start()


def run_heartbeat() -> None:
    while True:
        try:
            Heartbeat.objects.note("worker")
        except Error:
            pass  # the database is away; health says so without our help
        finally:
            connection.close()
        time.sleep(HEARTBEAT_INTERVAL_SECONDS)
