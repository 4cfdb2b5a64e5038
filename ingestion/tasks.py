"""Background tasks: run the ingestions requested through the API, delete old measurements."""

import logging
from functools import partial
from threading import BoundedSemaphore

from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now

from ingestion.models import Ingestion, IngestionStatus
from ingestion.performance.retention import delete_measurements, find_old_measurements
from ingestion.pipeline import run_ingestion
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.disk_space import is_disk_low
from memory_site.core.wakeup import TaskTrigger
from sessions_app.namespaces import find_namespaces, for_each_namespace

log = logging.getLogger(__name__)
MAX_INGESTION_ATTEMPTS = 5
GIVEN_UP_ERROR = f"Given up after {MAX_INGESTION_ATTEMPTS} attempts: each worker was lost."
UNEXPECTED_ERROR = "Failed with an unexpected error; see the worker's log."
# One run at a time in a process, so that its other threads stay free for other tasks.
INGESTION_SLOT = BoundedSemaphore(1)


@shared_task
def ingest_due() -> int:
    """Run the ingestions that are due. Return how many.

    Safe to run twice, in parallel, or late: the row is the queue, and a run in progress is skipped.
    """
    if is_disk_low() or not INGESTION_SLOT.acquire(blocking=False):
        return 0
    try:
        return for_each_namespace(process_due_ingestions, find_namespaces(Ingestion.objects.due()))
    finally:
        INGESTION_SLOT.release()


ingestion_trigger = TaskTrigger(ingest_due)


def process_due_ingestions(namespace_id: int) -> int:
    return sum(map(process_ingestion, Ingestion.objects.due().filter(namespace_id=namespace_id)))


def process_ingestion(ingestion: Ingestion) -> bool:
    """Run one ingestion to its end. Return False when another worker runs it or its attempts are used up."""
    if ingestion.attempts >= MAX_INGESTION_ATTEMPTS:
        update_progress(ingestion, status=IngestionStatus.FAILED, error=GIVEN_UP_ERROR, finished_at=Now())
        return False
    try:
        for _ in run_ingestion(ingestion):
            pass
    except AlreadyRunning:
        return False
    except (OperationalError, InterfaceError):  # the run stays open and is retried
        raise
    except Exception:
        log.exception("The ingestion %s failed", ingestion.pk)
        update_progress(ingestion, status=IngestionStatus.FAILED, error=UNEXPECTED_ERROR, finished_at=Now())
    return True


@shared_task
def delete_old_measurements() -> int:
    """Delete measurements of performance that are older than PERFORMANCE_RETENTION_DAYS. Return how many. Safe to run
    twice, in parallel, or late."""
    old = find_old_measurements()
    return for_each_namespace(partial(delete_measurements, rows=old), find_namespaces(old))
