"""Background tasks: embed queued memories, delete expired ones, run re-embeddings, vacuum."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from threading import BoundedSemaphore, Event

from celery import shared_task
from celery.signals import worker_ready
from django.db.models import Q, QuerySet

from memories import namespace_sizes
from memories.embedding_worker import LEASE, QueueRun
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.expiry import check_clocks, delete_expired_memories
from memories.models import Memory, Reembedding
from memories.reembedding import run_reembedding
from memories.vacuum import list_parts, vacuum_vectors
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.disk_space import is_disk_low
from memory_site.core.tracing import Origins, span
from memory_site.core.wakeup import TaskTrigger
from sessions_app.namespaces import Failures, find_namespaces, for_each_namespace

log = logging.getLogger(__name__)
# With two slots, one stores vectors while the other embeds: 0.95 of the model's own speed. With one slot 0.87.
WORKER_SLOTS = BoundedSemaphore(2)
REEMBEDDING_SLOT = BoundedSemaphore(1)
work_requested = Event()
#: The calls that a running one works for.
origins = Origins()


@shared_task
def embed_due() -> int:
    """Embed until nothing is due. Return how many vectors were stored. Safe to run twice, in parallel, or late.

    At most two run in one process, which leaves its other threads free. If both slots are busy, the call returns at
    once. It has already set `work_requested`, so a running call loops once more before it stops.
    """
    origins.add_current()
    work_requested.set()
    total = 0
    while work_requested.is_set() and WORKER_SLOTS.acquire(blocking=False):
        try:
            work_requested.clear()
            total += embed_until_done()
        finally:
            WORKER_SLOTS.release()
    return total


def embed_until_done() -> int:
    total = 0
    if is_disk_low():  # vectors are larger than their texts, which are stored already
        return total
    with span("embed what is due", origins.take()):
        for number, stored in enumerate(QueueRun().embed_batches()):
            total += stored
            if is_disk_low():
                break
            if number == 1:  # so much is due that another task helps
                embedding_trigger.notify_on_commit()
    return total


embedding_trigger = TaskTrigger(embed_due)


@worker_ready.connect
def enqueue_on_start(**_: object) -> None:
    """Enqueue what came due while no worker ran, without waiting for beat."""
    for task in (embed_due, reembed_due):
        task.apply_async(retry=False, expires=LEASE.total_seconds())


@shared_task
def delete_expired() -> int:
    """Delete expired memories. Return how many. Readers never see them, so nothing waits for this.

    Raises ClocksDiffer.
    """
    namespaces = find_namespaces(Memory.objects.expired())
    if namespaces:
        check_clocks()
    return for_each_namespace(delete_expired_memories, namespaces)


@shared_task
def measure_namespaces() -> int:
    """Count the memories of each namespace, for searches. Return how many namespaces changed."""
    return namespace_sizes.measure_namespaces()


@shared_task
def vacuum_due() -> bool:
    """Rebuild the index of the vectors if many of them were deleted. Return whether it was done.

    Looks at the table, not at who deleted: a request, a task, an aborted import. Safe to run twice, or in parallel.
    """
    due = [part for part in list_parts() if part.is_due]
    try:
        rows = vacuum_vectors(due) if due else None
    except AlreadyRunning:
        return False
    if rows is not None:
        log.info("Rebuilt the index of the vectors: %d rows of %d were dead.", rows.dead, rows.live + rows.dead)
    return rows is not None


@shared_task
def reembed_due() -> int:
    """Continue the open re-embeddings that no other process runs. Return how many finished. Safe to run twice, in
    parallel, or late: the row is the queue."""
    if not REEMBEDDING_SLOT.acquire(blocking=False):
        return 0
    try:
        return reembed_in_turns(select_open_reembeddings())
    finally:
        REEMBEDDING_SLOT.release()


def select_open_reembeddings() -> QuerySet:
    """Select open runs to the configured model, and those to another one that have only old vectors to delete."""
    open_ones = Reembedding.objects.filter(finished_at=None)
    return open_ones.filter(Q(model=get_embedder().model) | Q(switched_at__isnull=False))


reembedding_trigger = TaskTrigger(reembed_due)


def reembed_in_turns(runs: Iterable[Reembedding]) -> int:
    """Run re-embeddings, one batch of each in turn. Return how many finished.

    Raises NamespacesFailed at the end if some failed.
    """
    failures, finished = Failures("Re-embedding"), 0
    turns = deque((run, run_reembedding(run)) for run in runs)
    while turns:
        run, steps = turns.popleft()
        with failures.expected(run.namespace_id):
            if advance(run, steps):
                turns.append((run, steps))
            finished += run.finished_at is not None
    failures.raise_if_any()
    return finished


def advance(run: Reembedding, steps: Iterator[Reembedding]) -> bool:
    """Do the next step. Return whether there is another; an unavailable embedder leaves the run open, to be
    continued."""
    try:
        next(steps)
    except (AlreadyRunning, EmbedderUnavailable) as error:
        log.info("Re-embedding of namespace %d is not finished: %s", run.namespace_id, error)
        return False
    if run.finished_at is not None:
        embedding_trigger.notify_on_commit()
    return run.finished_at is None
