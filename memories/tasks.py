"""Embedding what is due, and the other work memories need in the background."""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
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
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.wakeup import TaskTrigger

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# One claim: six thousand tokens or so. Two hundred a second are enough to do two of them within the lease.
MAX_CLAIMED_ROWS = 256
MAX_CLAIMED_CHARACTERS = 25_000
# While one keeps its vectors the other has the model to itself: .95 of the model's own speed, alone .87.
WORKER_SLOTS = BoundedSemaphore(2)
REEMBEDDING_SLOT = BoundedSemaphore(1)
work_requested = Event()
OUTAGE_PAUSE = timedelta(seconds=20)
DELETE_BATCH_SIZE = 1_000


@shared_task
def embed_due() -> int:
    """Embed until nothing is due; how many vectors were made. Safe to run twice, in parallel, or late.

    Two at most in one process, which leaves its other threads to other work. Nobody waits for a place, and no ring is
    missed: whoever finds none has said so before, and is heard by the one who leaves next.
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
    for claims in count():
        made = claim_and_embed(DueEmbedding.objects.alive())
        if made is None:
            return total
        total += made
        if claims == 1:  # so much is due that another one helps
            embedding_trigger.notify_on_commit()


embedding_trigger = TaskTrigger(embed_due)


@worker_ready.connect
def enqueue_on_start(**_: object) -> None:
    """What came due while no worker ran does not wait for beat."""
    for task in (embed_due, reembed_due):
        task.apply_async(retry=False, expires=LEASE.total_seconds())


def claim_and_embed(due: DueQuerySet) -> int | None:
    """Claim some of what is due, embed it with no transaction open, keep the vectors: how many. None when there is
    nothing to do, or nobody to do it."""
    claimed = due.claim(MAX_CLAIMED_ROWS, MAX_CLAIMED_CHARACTERS, LEASE)
    hopeless = [row.pk for row in claimed if row.attempts >= MAX_EMBEDDING_ATTEMPTS]
    if hopeless:
        get_due_rows(hopeless).quarantine(
            f"Given up after {MAX_EMBEDDING_ATTEMPTS} tries: it ends its worker or makes the embedder fail."
        )
    mine = Memory.objects.filter(pk__in=[row.pk for row in claimed if row.attempts < MAX_EMBEDDING_ATTEMPTS])
    counts = [embed_claimed(model, memories) for model, memories in group_by_model(mine).items()]
    done = [count for count in counts if count is not None]
    return None if not claimed or (len(done) < len(counts) and not any(done)) else sum(done)


def group_by_model(memories: MemoryQuerySet) -> dict[str | None, list[Memory]]:
    """The memories by the model that serves their namespace; None where that is not decided yet."""
    groups: dict[str | None, list[Memory]] = defaultdict(list)
    rows = memories.annotate(model=F("namespace__embedding_model")).only("content", "content_hash", "namespace_id")
    for memory in rows:
        groups[memory.model].append(memory)
    return groups


def embed_claimed(model: str | None, mine: Sequence[Memory]) -> int | None:
    """Embed claimed memories of namespaces that this model serves: how many vectors are kept. None when the embedder
    is away."""
    outcomes = list(zip(mine, embed_texts(model, [memory.content for memory in mine]), strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in outcomes if not isinstance(vector, EmbeddingError)]
    kept = store_vectors(model, mine, made) if made else 0
    for memory, outcome in outcomes:
        if isinstance(outcome, TextRefused):
            get_due_rows([memory.pk]).filter(memory__content_hash=memory.content_hash).quarantine(str(outcome))
    # A text that may itself be what makes the embedder fail keeps its try; during an outage none is counted.
    if blamed := [memory.pk for memory, outcome in outcomes if isinstance(outcome, BatchFailed)]:
        get_due_rows(blamed).postpone(OUTAGE_PAUSE)
    if away := [memory.pk for memory, outcome in outcomes if is_outage(outcome)]:
        get_due_rows(away).release(after=OUTAGE_PAUSE)
        log.warning("The embedder is away; %d memories wait for it.", len(away))
    return None if away else kept


def store_vectors(model: str | None, mine: Sequence[Memory], made: Sequence[tuple]) -> int:
    if model is None:
        set_initial_model({memory.namespace_id for memory in mine}, model := get_embedder().model)
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
    """Have one memory's vector made, here unless a worker is at it already; whether it is there in the end.

    Waits `patience` seconds at most, and not at all for an embedder that is away or refuses the text.
    """
    until = time.monotonic() + patience
    one = DueEmbedding.objects.filter(pk=pk)
    while time.monotonic() < until:
        claim_and_embed(one)
        state = one.values_list("due_at", "attempts", "error").first()
        if state is None:
            return Memory.objects.filter(pk=pk).exists()
        due_at, attempts, refused = state
        # No try counted and not due: the embedder is away. Given back by another worker, it would be due at once.
        if refused or (attempts == 0 and due_at > timezone.now()):
            return False
        time.sleep(0.05)
    return False


@shared_task
def delete_expired() -> int:
    """Remove expired memories in batches; how many. Readers never see them, so nothing waits for this."""
    total, expired = 0, Memory.objects.expired()
    # The condition stands outside as well, where it is asked again of a memory that was given more time meanwhile.
    while deleted := expired.filter(pk__in=expired.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]:
        total += deleted
    return total


@shared_task
def reembed_due() -> int:
    """Go on with the namespaces that are being embedded anew and that nobody is at work on; how many came to their
    end. Safe to run twice, in parallel, or late: the row is the queue."""
    if not REEMBEDDING_SLOT.acquire(blocking=False):
        return 0
    try:
        return sum(reembed(reembedding) for reembedding in select_open_reembeddings())
    finally:
        REEMBEDDING_SLOT.release()


def select_open_reembeddings() -> QuerySet:
    """Those to the configured model, and those that have only vectors to remove: another model was configured since."""
    open_ones = Reembedding.objects.filter(finished_at=None)
    return open_ones.filter(Q(model=get_embedder().model) | Q(switched_at__isnull=False))


reembedding_trigger = TaskTrigger(reembed_due)


def reembed(reembedding: Reembedding) -> bool:
    """Whether it is done. An embedder that is away leaves it open, to be taken up again."""
    try:
        for _ in run_reembedding(reembedding):
            pass
    except (AlreadyRunning, EmbedderUnavailable) as error:
        log.info("The namespace %d is not embedded anew yet: %s", reembedding.namespace_id, error)
        return False
    embedding_trigger.notify_on_commit()
    return True
