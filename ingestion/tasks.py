"""Ingestions that were asked for over the API, done by a worker."""

import logging
from threading import BoundedSemaphore

from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now

from ingestion.models import Ingestion, IngestionStatus
from ingestion.pipeline import run_ingestion
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.wakeup import TaskTrigger

log = logging.getLogger(__name__)
MAX_INGESTION_ATTEMPTS = 5
GIVEN_UP_ERROR = f"Given up: {MAX_INGESTION_ATTEMPTS} workers were lost over it."
UNEXPECTED_ERROR = "Ended by an error of ours; the worker's log knows more."
# One at a time in one process, which leaves its other threads to other work.
INGESTION_SLOT = BoundedSemaphore(1)


@shared_task
def ingest_due() -> int:
    """Do the runs nobody has begun, and those whose worker was lost; how many. Safe to run twice, in parallel, or
    late: the row is the queue, and a run that is at work is left alone."""
    if not INGESTION_SLOT.acquire(blocking=False):
        return 0
    try:
        return sum(process_ingestion(ingestion) for ingestion in Ingestion.objects.due())
    finally:
        INGESTION_SLOT.release()


ingestion_trigger = TaskTrigger(ingest_due)


def process_ingestion(ingestion: Ingestion) -> bool:
    """Do one run to its end; whether it was ours to do."""
    if ingestion.attempts >= MAX_INGESTION_ATTEMPTS:
        update_progress(ingestion, status=IngestionStatus.FAILED, error=GIVEN_UP_ERROR, finished_at=Now())
        return False
    try:
        for _ in run_ingestion(ingestion):
            pass
    except AlreadyRunning:
        return False
    except (OperationalError, InterfaceError):  # it stays open, and is taken up again
        raise
    except Exception:
        log.exception("The ingestion %s failed", ingestion.pk)
        update_progress(ingestion, status=IngestionStatus.FAILED, error=UNEXPECTED_ERROR, finished_at=Now())
    return True
