"""Embedding what is due, and the other work memories need in the background."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from memories.due import TRIES
from memories.embeddings import BatchFailed, EmbedderUnavailable, EmbeddingError, Outcome, TextRefused, get_embedder
from memories.models import Embedding, Memory, MemoryQuerySet
from memory_site.bell import Bell

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# One claim: few enough characters (four make a token) to be done well within the lease on one slow core.
CLAIMED_AT_MOST = 256
CHARACTERS_AT_MOST = 100_000
OUTAGE_PAUSE = timedelta(seconds=20)
DELETED_AT_ONCE = 1_000


@shared_task
def embed_due() -> int:
    """Embed until nothing is due; how many vectors were made. Safe to run twice, in parallel, or late."""
    total = 0
    while (made := embed_some(Memory.objects.alive())) is not None:
        total += made
    return total


bell = Bell(embed_due)


def embed_some(memories: MemoryQuerySet) -> int | None:
    """Claim some due memories, embed them with no transaction open, keep the vectors: how many. None when there is
    nothing to do, or nobody to do it."""
    claimed = memories.only("id", "content", "content_hash", "embed_tries").claim(CLAIMED_AT_MOST, LEASE)
    mine, rest = within(claimed, CHARACTERS_AT_MOST)
    again(rest).give_back()
    hopeless = [memory for memory in mine if memory.embed_tries >= TRIES]
    again(hopeless).put_aside(f"Given up after {TRIES} tries: it ends its worker or makes the embedder fail.")
    mine = [memory for memory in mine if memory.embed_tries < TRIES]
    return embed_claimed(mine) if mine else (0 if hopeless else None)


def embed_claimed(mine: Sequence[Memory]) -> int | None:
    embedder = get_embedder()
    outcomes = list(zip(mine, embedder.embed_each([memory.content for memory in mine]), strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in outcomes if not isinstance(vector, EmbeddingError)]
    kept = Embedding.objects.write(embedder.model, made) if made else 0
    for memory, outcome in outcomes:
        if isinstance(outcome, TextRefused):
            again([memory]).filter(content_hash=memory.content_hash).put_aside(str(outcome))
    # A text that may itself be what makes the embedder fail keeps its try; during an outage none is counted.
    again([memory for memory, outcome in outcomes if isinstance(outcome, BatchFailed)]).put_off(OUTAGE_PAUSE)
    away = [memory for memory, outcome in outcomes if is_outage(outcome)]
    again(away).give_back(after=OUTAGE_PAUSE)
    if away:
        log.warning("The embedder is away; %d memories wait for it.", len(away))
    return None if away else kept


def is_outage(outcome: Outcome) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def within(memories: Sequence[Memory], characters: int) -> tuple[list[Memory], list[Memory]]:
    """The first memories that fit (one at least), and the rest."""
    for position, memory in enumerate(memories):
        characters -= len(memory.content)
        if characters < 0 and position:
            return list(memories[:position]), list(memories[position:])
    return list(memories), []


def again(memories: Sequence[Memory]) -> MemoryQuerySet:
    """The same rows, as they stand now."""
    return Memory.objects.filter(pk__in=[memory.pk for memory in memories])


def embed_now(pk: UUID, patience: float) -> bool:
    """Have one memory's vector made, here unless a worker is at it already; whether it is there in the end.

    Waits `patience` seconds at most, and not at all for an embedder that is away or refuses the text.
    """
    until = time.monotonic() + patience
    one = Memory.objects.filter(pk=pk)
    while time.monotonic() < until:
        embed_some(one)
        state = one.values_list("embed_after", "embed_tries", "embed_error").first()
        if state is None or state[0] is None:
            return state is not None
        after, tries, refused = state
        # No try counted and not due: the embedder is away. Given back by another worker, it would be due at once.
        if refused or (tries == 0 and after > timezone.now()):
            return False
        time.sleep(0.05)
    return False


@shared_task
def delete_expired() -> int:
    """Remove expired memories in batches; how many. Readers never see them, so nothing waits for this."""
    total = 0
    while deleted := Memory.objects.filter(pk__in=Memory.objects.expired().values("pk")[:DELETED_AT_ONCE]).delete()[0]:
        total += deleted
    return total
