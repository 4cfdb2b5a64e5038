"""Background tasks: embed queued memories, delete expired ones, run re-embeddings, vacuum."""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from threading import BoundedSemaphore, Event
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from memories.active_model import set_initial_model
from memories.embedding_queue import MAX_EMBEDDING_ATTEMPTS, DueQuerySet
from memories.embeddings import (
    BatchFailed,
    EmbedderUnavailable,
    EmbeddingError,
    Outcome,
    TextRefused,
    get_embedder,
    get_embedder_for_model,
)
from memories.models import DueEmbedding, Embedding, Memory, MemoryQuerySet, Reembedding
from memories.reembedding import run_reembedding
from memories.vacuum import count_vector_rows, list_leftover_indexes, vacuum_vectors
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.wakeup import TaskTrigger

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# About six thousand tokens per claim: an embedder of 200 tokens a second finishes two claims within the lease.
MAX_CLAIMED_ROWS = 256
MAX_CLAIMED_CHARACTERS = 25_000
# With two slots, one stores vectors while the other embeds: 0.95 of the model's own speed. With one slot 0.87.
WORKER_SLOTS = BoundedSemaphore(2)
REEMBEDDING_SLOT = BoundedSemaphore(1)
work_requested = Event()
OUTAGE_PAUSE = timedelta(seconds=20)
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
    claims = total = 0
    while (made := claim_and_embed(DueEmbedding.objects.alive())) is not None:
        claims, total = claims + 1, total + made
        if claims == 2:  # so much is due that another task helps
            embedding_trigger.notify_on_commit()
    return total


embedding_trigger = TaskTrigger(embed_due)


@worker_ready.connect
def enqueue_on_start(**_: object) -> None:
    """Enqueue what came due while no worker ran, without waiting for beat."""
    for task in (embed_due, reembed_due):
        task.apply_async(retry=False, expires=LEASE.total_seconds())


def claim_and_embed(due: DueQuerySet) -> int | None:
    """Claim due rows, embed them with no transaction open, and store the vectors. Return how many, or None when nothing
    is due or every embedder needed is unavailable."""
    claimed = due.claim(MAX_CLAIMED_ROWS, MAX_CLAIMED_CHARACTERS, LEASE)
    hopeless = [row.pk for row in claimed if row.attempts >= MAX_EMBEDDING_ATTEMPTS]
    if hopeless:
        get_due_rows(hopeless).quarantine(
            f"Given up after {MAX_EMBEDDING_ATTEMPTS} attempts: the text ends its worker or makes the embedder fail."
        )
    memories = Memory.objects.filter(pk__in=[row.pk for row in claimed if row.attempts < MAX_EMBEDDING_ATTEMPTS])
    counts = [embed_claimed(model, group) for model, group in group_by_model(memories).items()]
    done = [count for count in counts if count is not None]
    return None if not claimed or (len(done) < len(counts) and not any(done)) else sum(done)


def group_by_model(memories: MemoryQuerySet) -> dict[str | None, list[Memory]]:
    """Group memories by the active model of their namespace; None for a namespace that has none yet."""
    groups: dict[str | None, list[Memory]] = defaultdict(list)
    rows = memories.annotate(model=F("namespace__embedding_model")).only("content", "content_hash", "namespace_id")
    for memory in rows:
        groups[memory.model].append(memory)
    return groups


def embed_claimed(model: str | None, memories: Sequence[Memory]) -> int | None:
    """Embed claimed memories of namespaces with this active model. Return how many vectors were stored, or None when
    the embedder is unavailable."""
    outcomes = list(zip(memories, embed_texts(model, [memory.content for memory in memories]), strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in outcomes if not isinstance(vector, EmbeddingError)]
    stored = store_vectors(model, memories, made) if made else 0
    for memory, outcome in outcomes:
        if isinstance(outcome, TextRefused):
            get_due_rows([memory.pk]).filter(memory__content_hash=memory.content_hash).quarantine(str(outcome))
    # A text that may have made the embedder fail keeps its attempt; an outage counts no attempt.
    if suspects := [memory.pk for memory, outcome in outcomes if isinstance(outcome, BatchFailed)]:
        get_due_rows(suspects).postpone(OUTAGE_PAUSE)
    if unembedded := [memory.pk for memory, outcome in outcomes if is_outage(outcome)]:
        get_due_rows(unembedded).release(after=OUTAGE_PAUSE)
        log.warning("The embedder is unavailable; %d memories wait for it.", len(unembedded))
    return None if unembedded else stored


def store_vectors(model: str | None, memories: Sequence[Memory], made: Sequence[tuple]) -> int:
    if model is None:
        set_initial_model({memory.namespace_id for memory in memories}, model := get_embedder().model)
    return Embedding.objects.write(model, made)


def embed_texts(model: str | None, texts: Sequence[str]) -> Sequence[Outcome]:
    try:
        return get_embedder_for_model(model).embed_each(texts)
    except EmbedderUnavailable as error:
        return [error] * len(texts)


def is_outage(outcome: Outcome) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def get_due_rows(keys: Sequence[UUID]) -> DueQuerySet:
    return DueEmbedding.objects.filter(pk__in=keys)


def embed_now(pk: UUID, patience: float) -> bool:
    """Embed one memory, here or in the worker that has claimed it already. Return whether it is embedded.

    Waits at most `patience` seconds, and not at all when the embedder is unavailable or refuses the text.
    """
    until = time.monotonic() + patience
    row = DueEmbedding.objects.filter(pk=pk)
    while time.monotonic() < until:
        claim_and_embed(row)
        state = row.values_list("due_at", "attempts", "error").first()
        if state is None:
            return Memory.objects.filter(pk=pk).exists()
        due_at, attempts, error = state
        # Not due and without an attempt: released after an outage.
        if error or (attempts == 0 and due_at > timezone.now()):
            return False
        time.sleep(0.05)
    return False


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
