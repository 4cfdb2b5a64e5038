"""Run a job to its end, batch by batch. A lease lets one worker run it at a time; each batch checks it.

A batch is one transaction with the moved cursor. One that is cut off leaves nothing; one that was committed is behind
the cursor. So a killed worker repeats nothing and leaves nothing out.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce, Now

from memories.jobs.actions import get_action
from memories.jobs.actions.base import Action, Batch, Failure, Outcome
from memories.jobs.models import OPEN_STATES, Job, JobState
from memories.jobs.parameters import parse_parameters
from memory_site.core.db.actor import acting_in_job
from memory_site.core.db.locks import AlreadyRunning, set_lock_timeout
from memory_site.core.db.progress import update_progress
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.leases.leases import HeldLease, hold_lease

MAX_BATCH, MIN_BATCH, FIRST_BATCH = 1_000, 20, 100
#: How long a batch may keep its rows locked. The next one is made as large as fits into it.
TARGET_SECONDS = 0.25
#: What a run leaves of its time to requests: after each batch it rests for this share of the batch.
REST_SHARE = 0.25
MAX_LOCK_WAIT_SECONDS = 10.0
#: Between two looks at a job that another process runs.
WAIT_SECONDS = 0.1
#: Failures that the row keeps. The others are counted.
MAX_LOG_ENTRIES = 1_000
JOB_GONE = "The job has been deleted."
JOB_BUSY = "Another worker runs this job."


class Step(NamedTuple):
    """One batch: how many memories it looked at, 0 for the last one, and how long it took."""

    memories: int
    seconds: float


def name_lease(job: Job) -> str:
    return f"job {job.namespace_id} {job.pk}"


def run_job(job: Job) -> Iterator[Job]:
    """Run a job to its end, and yield its row after each batch.

    Raises AlreadyRunning when another worker runs it, has ended it or takes it over. Other errors leave it open.
    """
    with hold_lease(name_lease(job), JOB_BUSY) as lease:
        job.refresh_from_db()
        if not job.is_open:
            raise AlreadyRunning(JOB_BUSY)
        action, parameters = load_action(job)
        begin(job)
        action.start(job, parameters)
        size = FIRST_BATCH
        while (step := run_batch(job, lease, action, parameters, size)).memories:
            yield job
            size = resize(size, step.seconds)
            time.sleep(REST_SHARE * min(step.seconds, TARGET_SECONDS))
        action.follow_up(job)
        yield job


def run_to_end(job: Job) -> Job:
    """Run a job in this process, or wait while a worker does, until it has ended. Raises what a batch raises."""
    while job.is_open:
        try:
            for _ in run_job(job):
                pass
        except AlreadyRunning:
            time.sleep(WAIT_SECONDS)
        job.refresh_from_db()
    return job


def load_action(job: Job) -> tuple[Action, Any]:
    """Return the job's action and its parameters. Raises InvalidField for those that this release does not know."""
    action = get_action(job.action)
    return action, parse_parameters(action, job.parameters)


def begin(job: Job) -> None:
    """Note that a worker is at it. A job that is being cancelled stays so."""
    state = JobState.CANCELLING if job.state == JobState.CANCELLING else JobState.RUNNING
    rows = Job.objects.filter(namespace_id=job.namespace_id, pk=job.pk, state=job.state)
    started_at = Coalesce("started_at", Now())
    rows.update(state=state, attempts=F("attempts") + 1, started_at=started_at, last_heartbeat_at=Now())
    job.refresh_from_db()


@retry_on_deadlock
def run_batch(job: Job, lease: HeldLease, action: Action, parameters: Any, size: int) -> Step:
    """Do the next batch, or end the job, in one transaction. Raises AlreadyRunning if the job has been deleted."""
    began = time.monotonic()
    with lease.transaction(), acting_in_job(job.pk, job.created_by):
        set_lock_timeout(MAX_LOCK_WAIT_SECONDS)
        lock_job(job)
        ids = [] if job.state == JobState.CANCELLING else action.lock_next(job, size)
        if ids:
            outcome = action.apply(Batch(job, ids, parameters))
            note_outcome(job, ids[-1], outcome)
        else:
            end(job, action, parameters)
    return Step(len(ids), time.monotonic() - began)


def lock_job(job: Job) -> None:
    """Read the job's row again and keep it as it is until the transaction ends."""
    try:
        job.refresh_from_db(from_queryset=Job.objects.select_for_update())
    except Job.DoesNotExist:
        raise AlreadyRunning(JOB_GONE) from None


def note_outcome(job: Job, cursor: UUID, outcome: Outcome) -> None:
    """Move the cursor and count. The worker has shown that the job can go on, so its attempts begin again."""
    log = job.log + list(map(format_failure, outcome.failures[: MAX_LOG_ENTRIES - len(job.log)]))
    counts = {"done": job.done + outcome.done, "failed": job.failed + len(outcome.failures)}
    update_progress(job, cursor=cursor, log=log, attempts=0, **counts)


def format_failure(failure: Failure) -> dict[str, str]:
    return {"id": str(failure.id), "reason": failure.reason}


def end(job: Job, action: Action, parameters: Any) -> None:
    """Set the last state of a job that has nothing more to do, or that was cancelled."""
    is_cancelled = job.state == JobState.CANCELLING
    state = JobState.CANCELLED if is_cancelled else JobState.FINISHED
    result = action.finish(job, parameters)
    update_progress(job, state=state, result=job.result | result, finished_at=Now())
    job.refresh_from_db()
    if job.undo_of is not None and not is_cancelled:
        Job.objects.filter(namespace_id=job.namespace_id, pk=job.undo_of).update(state=JobState.UNDONE)


def resize(size: int, seconds: float) -> int:
    """Return the size of the next batch, at most twice as large, from the time that this one took."""
    fitting = round(size * TARGET_SECONDS / max(seconds, 0.001))
    return max(MIN_BATCH, min(fitting, 2 * size, MAX_BATCH))


def fail(job: Job, message: str) -> None:
    """End a job that cannot go on. What it has done stays done."""
    rows = Job.objects.open().filter(namespace_id=job.namespace_id, pk=job.pk)
    rows.order_by().update(state=JobState.FAILED, message=message, finished_at=Now())


def cancel(job: Job) -> bool:
    """Stop a job: at once if no worker has begun it, else after the present batch. Return False if it has ended."""
    rows = Job.objects.filter(namespace_id=job.namespace_id, pk=job.pk)
    if rows.filter(state=JobState.PENDING).update(state=JobState.CANCELLED, finished_at=Now()):
        return True
    return bool(rows.filter(state__in=OPEN_STATES).update(state=JobState.CANCELLING))
