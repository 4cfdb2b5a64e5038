"""Ingestions that were asked for over the API, done by a worker."""

import logging
from threading import BoundedSemaphore

from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now

from ingestion.models import Ingestion, Status
from ingestion.pipeline import run
from memory_site.core.db.locks import AlreadyAtWork
from memory_site.core.db.progress import change
from memory_site.core.wakeup import Bell

log = logging.getLogger(__name__)
TRIES = 5
GIVEN_UP = f"Given up: {TRIES} workers were lost over it."
UNFORESEEN = "Ended by an error of ours; the worker's log knows more."
# One at a time in one process, which leaves its other threads to other work.
AT_WORK = BoundedSemaphore(1)


@shared_task
def ingest_due() -> int:
    """Do the runs nobody has begun, and those whose worker was lost; how many. Safe to run twice, in parallel, or
    late: the row is the queue, and a run that is at work is left alone."""
    if not AT_WORK.acquire(blocking=False):
        return 0
    try:
        return sum(ingest(ingestion) for ingestion in Ingestion.objects.due())
    finally:
        AT_WORK.release()


bell = Bell(ingest_due)


def ingest(ingestion: Ingestion) -> bool:
    """Do one run to its end; whether it was ours to do."""
    if ingestion.tries >= TRIES:
        change(ingestion, status=Status.FAILED, error=GIVEN_UP, finished_at=Now())
        return False
    try:
        for _ in run(ingestion):
            pass
    except AlreadyAtWork:
        return False
    except (OperationalError, InterfaceError):  # it stays open, and is taken up again
        raise
    except Exception:
        log.exception("The ingestion %s failed", ingestion.pk)
        change(ingestion, status=Status.FAILED, error=UNFORESEEN, finished_at=Now())
    return True
