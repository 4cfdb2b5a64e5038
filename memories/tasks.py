"""Background tasks: embed queued memories, delete expired ones, run re-embeddings, vacuum."""

import logging
from threading import BoundedSemaphore, Event

from celery import shared_task
from celery.signals import worker_ready
from django.db.models import Q, QuerySet

from memories.embedding_worker import LEASE, QueueRun
from memories.embeddings import EmbedderUnavailable, get_embedder
from memories.models import Memory, Reembedding
from memories.reembedding import run_reembedding
from memories.vacuum import count_vector_rows, list_leftover_indexes, vacuum_vectors
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.wakeup import TaskTrigger

log = logging.getLogger(__name__)
# With two slots, one stores vectors while the other embeds: 0.95 of the model's own speed. With one slot 0.87.
WORKER_SLOTS = BoundedSemaphore(2)
REEMBEDDING_SLOT = BoundedSemaphore(1)
work_requested = Event()
DELETE_BATCH_SIZE = 1_000


@shared_task
def embed_due() -> int:
    """Embed until nothing is due. Return how many vectors were stored. Safe to run twice, in parallel, or late.

    At most two run in one process, which leaves its other threads free. If both slots are busy, the call returns at
    once. It has already set `work_requested`, so a running call loops once more before it stops.
    """
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
    for number, stored in enumerate(QueueRun().embed_batches()):
        total += stored
        if number == 1:  # so much is due that another task helps
            embedding_trigger.notify_on_commit()
    return total


embedding_trigger = TaskTrigger(embed_due)


@worker_ready.connect
def enqueue_on_start(**_: object) -> None:
    """Enqueue what came due while no worker ran, without waiting for beat."""
    for task in (embed_due, reembed_due):
        task.apply_async(retry=False, expires=LEASE.total_seconds())


def find_expired(namespace_id: int | None = None) -> QuerySet:
    expired = Memory.objects.expired()
    return expired if namespace_id is None else expired.filter(namespace=namespace_id)


@shared_task
def delete_expired(namespace_id: int | None = None) -> int:
    """Delete expired memories (None: of all namespaces) in batches. Return how many. Readers never see them, so nothing
    waits for this."""
    total, expired = 0, find_expired(namespace_id)
    # The outer condition checks again after the row is locked: its expiry may have been extended meanwhile.
    while deleted := expired.filter(pk__in=expired.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]:
        total += deleted
    return total


@shared_task
def vacuum_due() -> bool:
    """Rebuild the index of the vectors if many of them were deleted. Return whether it was done.

    Looks at the table, not at who deleted: a request, a task, an aborted import. Safe to run twice, or in parallel.
    """
    rows = count_vector_rows()
    if rows.recently_vacuumed or not (rows.need_vacuum or list_leftover_indexes()):
        return False
    try:
        vacuum_vectors()
    except AlreadyRunning:
        return False
    log.info("Rebuilt the index of the vectors: %d rows of %d were dead.", rows.dead, rows.live + rows.dead)
    return True


@shared_task
def reembed_due() -> int:
    """Continue the open re-embeddings that no other process runs. Return how many finished. Safe to run twice, in
    parallel, or late: the row is the queue."""
    if not REEMBEDDING_SLOT.acquire(blocking=False):
        return 0
    try:
        return sum(reembed(reembedding) for reembedding in select_open_reembeddings())
    finally:
        REEMBEDDING_SLOT.release()


def select_open_reembeddings() -> QuerySet:
    """Select open runs to the configured model, and those to another one that have only old vectors to delete."""
    open_ones = Reembedding.objects.filter(finished_at=None)
    return open_ones.filter(Q(model=get_embedder().model) | Q(switched_at__isnull=False))


reembedding_trigger = TaskTrigger(reembed_due)


def reembed(reembedding: Reembedding) -> bool:
    """Run a re-embedding. Return whether it finished; an unavailable embedder leaves it open, to be continued."""
    try:
        for _ in run_reembedding(reembedding):
            pass
    except (AlreadyRunning, EmbedderUnavailable) as error:
        log.info("Re-embedding of namespace %d is not finished: %s", reembedding.namespace_id, error)
        return False
    embedding_trigger.notify_on_commit()
    return True
