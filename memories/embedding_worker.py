"""Embed what waits in the queue, the namespaces in turn: none waits behind another's long queue, its locked rows or the
failures of its embedder."""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from memories.active_model import set_initial_model
from memories.embedding_queue import MAX_BATCHED_ATTEMPTS, MAX_EMBEDDING_ATTEMPTS, DueQuerySet
from memories.embeddings import (
    BatchFailed,
    EmbedderUnavailable,
    EmbeddingError,
    Outcome,
    TextRefused,
    get_embedder,
    get_embedder_for_model,
)
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.namespaces import Failures

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# About six thousand tokens per batch: an embedder of 200 tokens a second finishes two batches within the lease.
MAX_CLAIMED_ROWS = 256
MAX_CLAIMED_CHARACTERS = 25_000
OUTAGE_PAUSE = timedelta(seconds=20)
#: A namespace that begins to wait during a run has its turn after so long and one batch.
LOOK_INTERVAL_SECONDS = 1.0
#: A memory with its namespace's active model as `model`, and what the embedder made of it.
Embedded = tuple[Memory, Outcome | Exception]


@dataclass
class Claim:
    """Claimed memories of one namespace, to embed together with others or `alone`. `more` may be due there."""

    memories: Sequence[Memory]
    found: bool
    more: bool
    alone: bool


@dataclass
class QueueRun:
    """One run over the queue. The namespaces with due memories take turns.

    `resting` has the namespaces that failed and the models whose embedder is unavailable, and when to try them again.
    """

    turns: deque[tuple[int, str | None]] = field(default_factory=deque)
    resting: dict[int | str | None, float] = field(default_factory=dict)
    failures: Failures = field(default_factory=lambda: Failures("Embedding"))
    next_look: float = 0

    def embed_batches(self) -> Iterator[int]:
        """Claim, embed and store batch by batch until nothing can be claimed. Yield how many vectors each stored.

        Raises NamespacesFailed at the end.
        """
        while batch := self.claim_batch():
            yield self.embed_batch(batch)
        self.failures.raise_if_any()

    def look(self) -> None:
        """Let namespaces that began to wait have the next turns."""
        if time.monotonic() < self.next_look:
            return
        known = {namespace_id for namespace_id, _ in self.turns}
        waiting = [turn for turn in DueEmbedding.objects.list_waiting() if turn[0] not in known]
        self.turns.extendleft(reversed(waiting))
        self.next_look = time.monotonic() + LOOK_INTERVAL_SECONDS

    def claim_batch(self) -> list[Claim]:
        """Claim from one namespace after the other until the batch is full, but from none twice."""
        self.look()
        batch: list[Claim] = []
        rows, characters = MAX_CLAIMED_ROWS, MAX_CLAIMED_CHARACTERS
        for _ in range(len(self.turns)):
            claim = self.claim_next(rows, characters, suspects=not batch)
            batch += [claim] if claim.found else []
            rows -= len(claim.memories)
            characters -= sum(len(memory.content) for memory in claim.memories)
            if claim.alone or rows <= 0 or characters <= 0:
                break
        return batch

    def claim_next(self, rows: int, characters: int, suspects: bool) -> Claim:
        """Claim memories of the namespace whose turn it is. It has another turn if more is due there."""
        claim, (namespace_id, model) = NOTHING, self.turns.popleft()
        if not self.is_resting(namespace_id) and not self.is_resting(model):
            with self.guard(namespace_id):
                claim = claim_memories(DueEmbedding.objects.alive(), namespace_id, rows, characters, suspects)
        if claim.more:
            self.turns.append((namespace_id, model))
        return claim

    def embed_batch(self, batch: Sequence[Claim]) -> int:
        """Embed all memories of the same model together, with no transaction open. Return how many are stored."""
        groups: dict[str | None, list[Memory]] = defaultdict(list)
        for memory in [memory for claim in batch for memory in claim.memories]:
            groups[memory.model].append(memory)
        return sum(self.embed_group(model, memories) for model, memories in groups.items())

    def embed_group(self, model: str | None, memories: Sequence[Memory]) -> int:
        outcomes = embed_texts(model, [memory.content for memory in memories])
        owned = [list(own) for _, own in groupby(zip(memories, outcomes, strict=True), key=get_namespace_id)]
        if len(owned) > 1 and any(map(is_unforeseen, outcomes)):
            return sum(self.embed_group(model, [memory for memory, _ in own]) for own in owned)
        if any(map(is_outage, outcomes)):
            self.rest(model)
        return sum(self.store(own) for own in owned)

    def store(self, pairs: Sequence[Embedded]) -> int:
        """Store what was made of memories of one namespace. Return how many vectors are stored."""
        with self.guard(get_namespace_id(pairs[0])):
            return store_outcomes(pairs)
        return 0

    @contextmanager
    def guard(self, namespace_id: int) -> Iterator[None]:
        """Leave a namespace out for a while after an error inside the block."""
        with self.failures.expected(namespace_id):
            yield
            return
        self.rest(namespace_id)

    def rest(self, namespace_or_model: int | str | None) -> None:
        self.resting[namespace_or_model] = time.monotonic() + OUTAGE_PAUSE.total_seconds()

    def is_resting(self, namespace_or_model: int | str | None) -> bool:
        return self.resting.get(namespace_or_model, 0) > time.monotonic()


NOTHING = Claim([], found=False, more=False, alone=False)


def claim_memories(due: DueQuerySet, namespace_id: int, rows: int, characters: int, suspects: bool = True) -> Claim:
    """Claim due rows of a namespace and read their memories, with the namespace's active model as `model`.

    Rows whose attempts are used up are quarantined.
    """
    claimed, more = due.claim(namespace_id, rows, characters, LEASE, suspects=suspects)
    hopeless = [row.pk for row in claimed if row.attempts >= MAX_EMBEDDING_ATTEMPTS]
    if hopeless:
        DueEmbedding.objects.in_namespace(namespace_id).filter(pk__in=hopeless).quarantine(
            f"Given up after {MAX_EMBEDDING_ATTEMPTS} attempts: the text ends its worker or makes the embedder fail."
        )
    keys = [row.pk for row in claimed if row.attempts < MAX_EMBEDDING_ATTEMPTS]
    memories = Memory.objects.filter(namespace_id=namespace_id, pk__in=keys)
    memories = memories.annotate(model=F("namespace__embedding_model")).only("content", "content_hash", "namespace_id")
    alone = any(row.attempts >= MAX_BATCHED_ATTEMPTS for row in claimed)
    return Claim(list(memories), bool(claimed), more, alone)


def embed_texts(model: str | None, texts: Sequence[str]) -> Sequence[Outcome | Exception]:
    """Return a vector or an error for each text; the same one for all if the embedder raised it."""
    try:
        return get_embedder_for_model(model).embed_each(texts)
    except Exception as error:  # of what no embedder is expected to raise, each namespace is told in its turn
        return [error] * len(texts)


def get_namespace_id(pair: Embedded) -> int:
    return pair[0].namespace_id


def is_outage(outcome: Outcome | Exception) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def is_unforeseen(outcome: Outcome | Exception) -> bool:
    return isinstance(outcome, Exception) and not isinstance(outcome, EmbeddingError)


def store_outcomes(pairs: Sequence[Embedded]) -> int:
    """Store the vectors of memories of one namespace and one model, and put off those without. Return how many vectors
    were stored.

    Raises what the embedder should not have raised: that counts as an attempt. Raises OperationalError if rows stay
    locked, which does not.
    """
    if unforeseen := [outcome for _, outcome in pairs if is_unforeseen(outcome)]:
        raise unforeseen[0]
    try:
        return save_outcomes(pairs)
    except OperationalError:
        get_due_rows(pairs).release(after=OUTAGE_PAUSE)
        raise


@retry_on_deadlock
def save_outcomes(pairs: Sequence[Embedded]) -> int:
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in pairs if not isinstance(vector, EmbeddingError)]
    with bounded_transaction():
        stored = store_vectors(pairs[0][0], made) if made else 0
        for memory, outcome in pairs:
            if isinstance(outcome, TextRefused):
                same = get_due_rows([(memory, outcome)]).filter(memory__content_hash=memory.content_hash)
                same.quarantine(str(outcome))
        # A text that may have made the embedder fail keeps its attempt; an outage counts no attempt.
        if suspects := [pair for pair in pairs if isinstance(pair[1], BatchFailed)]:
            get_due_rows(suspects).postpone(OUTAGE_PAUSE)
        if unembedded := [pair for pair in pairs if is_outage(pair[1])]:
            get_due_rows(unembedded).release(after=OUTAGE_PAUSE)
            log.warning("The embedder is unavailable; %d memories wait for it.", len(unembedded))
    return stored


def store_vectors(owner: Memory, made: Sequence[tuple]) -> int:
    """Store vectors of memories with the namespace and the model of `owner`."""
    if (model := owner.model) is None:
        set_initial_model([owner.namespace_id], model := get_embedder().model)
    return Embedding.objects.write(owner.namespace_id, model, made)


def get_due_rows(pairs: Sequence[Embedded]) -> DueQuerySet:
    rows = DueEmbedding.objects.in_namespace(get_namespace_id(pairs[0]))
    return rows.filter(pk__in=[memory.pk for memory, _ in pairs])


def embed_now(namespace_id: int, pk: UUID, patience: float) -> bool:
    """Embed one memory, here or in the worker that has claimed it already. Return whether it is embedded.

    Waits at most `patience` seconds, and not at all when the embedder is unavailable or refuses the text.
    """
    until = time.monotonic() + patience
    row = DueEmbedding.objects.in_namespace(namespace_id).filter(pk=pk)
    while time.monotonic() < until:
        for memory in claim_memories(row, namespace_id, 1, 1).memories:
            store_outcomes([(memory, embed_texts(memory.model, [memory.content])[0])])
        state = row.values_list("due_at", "attempts", "error").first()
        if state is None:
            return Memory.objects.filter(namespace_id=namespace_id, pk=pk).exists()
        due_at, attempts, error = state
        # Not due and without an attempt: released after an outage.
        if error or (attempts == 0 and due_at > timezone.now()):
            return False
        time.sleep(0.05)
    return False
