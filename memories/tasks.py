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

from memories.active_model import decide
from memories.embedding_queue import TRIES, DueQuerySet
from memories.embeddings import (
    BatchFailed,
    EmbedderUnavailable,
    EmbeddingError,
    Outcome,
    TextRefused,
    embedder_of,
    get_embedder,
)
from memories.models import DueEmbedding, Embedding, Memory, MemoryQuerySet, Reembedding
from memories.reembedding import run
from memory_site.core.db.locks import AlreadyAtWork
from memory_site.core.wakeup import Bell

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# One claim: six thousand tokens or so. Two hundred a second are enough to do two of them within the lease.
CLAIMED_AT_MOST = 256
CHARACTERS_AT_MOST = 25_000
# While one keeps its vectors the other has the model to itself: .95 of the model's own speed, alone .87.
SIDE_BY_SIDE = BoundedSemaphore(2)
REEMBEDDING = BoundedSemaphore(1)
rung = Event()
OUTAGE_PAUSE = timedelta(seconds=20)
DELETED_AT_ONCE = 1_000


@shared_task
def embed_due() -> int:
    """Embed until nothing is due; how many vectors were made. Safe to run twice, in parallel, or late.

    Two at most in one process, which leaves its other threads to other work. Nobody waits for a place, and no ring is
    missed: whoever finds none has said so before, and is heard by the one who leaves next.
    """
    rung.set()
    total = 0
    while rung.is_set() and SIDE_BY_SIDE.acquire(blocking=False):
        try:
            rung.clear()
            total += embed_all()
        finally:
            SIDE_BY_SIDE.release()
    return total


def embed_all() -> int:
    total = 0
    for claims in count():
        made = embed_some(DueEmbedding.objects.alive())
        if made is None:
            return total
        total += made
        if claims == 1:  # so much is due that another one helps
            bell.ring()


bell = Bell(embed_due)


@worker_ready.connect
def look_for_work(**_: object) -> None:
    """What came due while no worker ran does not wait for beat."""
    for task in (embed_due, reembed_due):
        task.apply_async(retry=False, expires=LEASE.total_seconds())


def embed_some(due: DueQuerySet) -> int | None:
    """Claim some of what is due, embed it with no transaction open, keep the vectors: how many. None when there is
    nothing to do, or nobody to do it."""
    claimed = due.claim(CLAIMED_AT_MOST, CHARACTERS_AT_MOST, LEASE)
    hopeless = [row.pk for row in claimed if row.tries >= TRIES]
    if hopeless:
        queued(hopeless).put_aside(f"Given up after {TRIES} tries: it ends its worker or makes the embedder fail.")
    mine = Memory.objects.filter(pk__in=[row.pk for row in claimed if row.tries < TRIES])
    counts = [embed_claimed(model, memories) for model, memories in by_model(mine).items()]
    done = [count for count in counts if count is not None]
    return None if not claimed or len(done) < len(counts) and not any(done) else sum(done)


def by_model(memories: MemoryQuerySet) -> dict[str | None, list[Memory]]:
    """The memories by the model that serves their namespace; None where that is not decided yet."""
    groups: dict[str | None, list[Memory]] = defaultdict(list)
    rows = memories.annotate(model=F("namespace__embedding_model")).only("content", "content_hash", "namespace_id")
    for memory in rows:
        groups[memory.model].append(memory)
    return groups


def embed_claimed(model: str | None, mine: Sequence[Memory]) -> int | None:
    """Embed claimed memories of namespaces that this model serves: how many vectors are kept. None when the embedder
    is away."""
    outcomes = list(zip(mine, outcomes_of(model, [memory.content for memory in mine]), strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in outcomes if not isinstance(vector, EmbeddingError)]
    kept = keep(model, mine, made) if made else 0
    for memory, outcome in outcomes:
        if isinstance(outcome, TextRefused):
            queued([memory.pk]).filter(memory__content_hash=memory.content_hash).put_aside(str(outcome))
    # A text that may itself be what makes the embedder fail keeps its try; during an outage none is counted.
    if blamed := [memory.pk for memory, outcome in outcomes if isinstance(outcome, BatchFailed)]:
        queued(blamed).put_off(OUTAGE_PAUSE)
    if away := [memory.pk for memory, outcome in outcomes if is_outage(outcome)]:
        queued(away).give_back(after=OUTAGE_PAUSE)
        log.warning("The embedder is away; %d memories wait for it.", len(away))
    return None if away else kept


def keep(model: str | None, mine: Sequence[Memory], made: Sequence[tuple]) -> int:
    if model is None:
        decide({memory.namespace_id for memory in mine}, model := get_embedder().model)
    return Embedding.objects.write(model, made)


def outcomes_of(model: str | None, texts: Sequence[str]) -> Sequence[Outcome]:
    try:
        return embedder_of(model).embed_each(texts)
    except EmbedderUnavailable as error:
        return [error] * len(texts)


def is_outage(outcome: Outcome) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def queued(keys: Sequence[UUID]) -> DueQuerySet:
    return DueEmbedding.objects.filter(pk__in=keys)


def embed_now(pk: UUID, patience: float) -> bool:
    """Have one memory's vector made, here unless a worker is at it already; whether it is there in the end.

    Waits `patience` seconds at most, and not at all for an embedder that is away or refuses the text.
    """
    until = time.monotonic() + patience
    one = DueEmbedding.objects.filter(pk=pk)
    while time.monotonic() < until:
        embed_some(one)
        state = one.values_list("after", "tries", "error").first()
        if state is None:
            return Memory.objects.filter(pk=pk).exists()
        after, tries, refused = state
        # No try counted and not due: the embedder is away. Given back by another worker, it would be due at once.
        if refused or (tries == 0 and after > timezone.now()):
            return False
        time.sleep(0.05)
    return False


@shared_task
def delete_expired() -> int:
    """Remove expired memories in batches; how many. Readers never see them, so nothing waits for this."""
    total, expired = 0, Memory.objects.expired()
    # The condition stands outside as well, where it is asked again of a memory that was given more time meanwhile.
    while deleted := expired.filter(pk__in=expired.values("pk")[:DELETED_AT_ONCE]).delete()[0]:
        total += deleted
    return total


@shared_task
def reembed_due() -> int:
    """Go on with the namespaces that are being embedded anew and that nobody is at work on; how many came to their
    end. Safe to run twice, in parallel, or late: the row is the queue."""
    if not REEMBEDDING.acquire(blocking=False):
        return 0
    try:
        return sum(reembed(reembedding) for reembedding in wanted_reembeddings())
    finally:
        REEMBEDDING.release()


def wanted_reembeddings() -> QuerySet:
    """Those to the configured model, and those that have only vectors to remove: another model was configured since."""
    open_ones = Reembedding.objects.filter(finished_at=None)
    return open_ones.filter(Q(model=get_embedder().model) | Q(switched_at__isnull=False))


reembedding_bell = Bell(reembed_due)


def reembed(reembedding: Reembedding) -> bool:
    """Whether it is done. An embedder that is away leaves it open, to be taken up again."""
    try:
        for _ in run(reembedding):
            pass
    except (AlreadyAtWork, EmbedderUnavailable) as error:
        log.info("The namespace %d is not embedded anew yet: %s", reembedding.namespace_id, error)
        return False
    bell.ring()
    return True
