"""Background tasks: run the jobs that are open, delete the files of old exports."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from threading import BoundedSemaphore

from celery import shared_task
from celery.signals import worker_ready
from django.db import Error, InterfaceError, OperationalError
from django.db.models import F

from memories.jobs.models import Job, JobFile
from memories.jobs.run import fail, run_job
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.errors import DomainError
from memory_site.core.wakeup import MESSAGE_EXPIRY_SECONDS, TaskTrigger
from sessions_app.namespaces import Failures, find_namespaces, for_each_namespace

log = logging.getLogger(__name__)
#: A job is given up when so many workers were lost, or failed, over the same batch.
MAX_ATTEMPTS = 10
GIVEN_UP = f"Given up after {MAX_ATTEMPTS} attempts at the same batch; see the worker's log."
UNEXPECTED = "Failed with an unexpected error; see the worker's log. What was done before stays done."
#: Jobs that a worker has in hand at once, one batch of each in turn: a short one does not wait for a long one.
MAX_IN_HAND = 4
# One call at a time in a process, so that its other threads stay free for other tasks.
JOB_SLOT = BoundedSemaphore(1)


@shared_task
def run_jobs() -> int:
    """Run the open jobs that no other worker runs. Return how many ended. Safe to run twice, in parallel, or late: the
    row is the queue, and a job whose worker was lost is continued."""
    if not JOB_SLOT.acquire(blocking=False):
        return 0
    try:
        return run_in_turns()
    finally:
        JOB_SLOT.release()


job_trigger = TaskTrigger(run_jobs)


@worker_ready.connect
def continue_on_start(**_: object) -> None:
    """Continue at once what a worker before this one left."""
    run_jobs.apply_async(retry=False, expires=MESSAGE_EXPIRY_SECONDS)


def run_in_turns() -> int:
    """Run what is open, and what is created meanwhile, until nothing is left. Return how many jobs ended."""
    failures, ended = Failures("Running jobs"), 0
    turns: deque[tuple[Job, Iterator[Job]]] = deque()
    tried: set = set()
    while take_more(turns, tried) or turns:
        job, steps = turns.popleft()
        with failures.expected(job.namespace_id):
            if advance(job, steps):
                turns.append((job, steps))
            else:
                ended += not job.is_open
    failures.raise_if_any()
    return ended


def take_more(turns: deque[tuple[Job, Iterator[Job]]], tried: set) -> bool:
    """Take open jobs in hand that this call has not tried yet. Return whether there were any."""
    free = MAX_IN_HAND - len(turns)
    found = [job for job in find_open_jobs() if job.pk not in tried][:free] if free else []
    tried.update(job.pk for job in found)
    turns.extend((job, run_job(job)) for job in found)
    return bool(found)


def find_open_jobs() -> list[Job]:
    """Return the open jobs of all namespaces, each namespace by itself: one statement reads one part."""
    jobs = [
        job
        for namespace_id in find_namespaces(Job.objects.open())
        for job in Job.objects.open().filter(namespace_id=namespace_id)
    ]
    return sorted(jobs, key=lambda job: (job.created_at, job.pk))


def advance(job: Job, steps: Iterator[Job]) -> bool:
    """Do the next batch of a job. Return whether there is another one.

    Raises OperationalError and InterfaceError: the database is away, or a row stays locked, and the job stays open.
    """
    if job.attempts >= MAX_ATTEMPTS:
        fail(job, GIVEN_UP)
        return False
    try:
        next(steps)
    except (AlreadyRunning, StopIteration):
        return False
    except (OperationalError, InterfaceError):
        return_attempt(job)
        raise
    except DomainError as error:
        fail(job, str(error))
        return False
    except Exception:
        log.exception("The job %s failed", job.pk)
        fail(job, UNEXPECTED)
        return False
    return True


def return_attempt(job: Job) -> None:
    """Do not count an attempt that failed for a reason outside of the job."""
    with suppress(Error):
        rows = Job.objects.filter(namespace_id=job.namespace_id, pk=job.pk, attempts__gt=0)
        rows.update(attempts=F("attempts") - 1)


@shared_task
def delete_old_files() -> int:
    """Delete the files of exports that are older than FILE_LIFETIME. Return how many parts. Safe to run twice."""
    return for_each_namespace(delete_files, find_namespaces(JobFile.objects.outdated()))


def delete_files(namespace_id: int) -> int:
    return JobFile.objects.outdated().filter(namespace_id=namespace_id).delete()[0]
