"""Embed what waits in the queue, the namespaces in turn: none waits behind another's long queue, its locked rows or the
failures of its embedder."""

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TypeGuard
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from memories.active_model import set_initial_model
from memories.embedding_queue import (
    MAX_BATCHED_ATTEMPTS,
    MAX_EMBEDDING_ATTEMPTS,
    ClaimedText,
    DueQuerySet,
    claim_texts,
)
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
from memories.states import has_state
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock
from memory_site.core.http.overload import step_aside
from memory_site.core.metrics.counters import embedding_seconds, embedding_texts, measure
from memory_site.core.tracing import trace_embedding
from sessions_app.models import Namespace
from sessions_app.namespaces import Failures, look_into_all

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=settings.EMBEDDING_LEASE)
# About six thousand tokens per batch: an embedder of 200 tokens a second finishes two batches within the lease.
MAX_CLAIMED_ROWS = 256
MAX_CLAIMED_CHARACTERS = 25_000
OUTAGE_PAUSE = timedelta(seconds=20)
#: A namespace that begins to wait during a run has its turn after so long and one batch.
LOOK_INTERVAL_SECONDS = 1.0
#: A text, and what the embedder made of it.
Embedded = tuple[ClaimedText, Outcome | Exception]


@dataclass
class Claim:
    """Claimed texts of one namespace. `more` may be due there."""

    texts: Sequence[ClaimedText]
    more: bool

    @property
    def is_alone(self) -> bool:
        """Whether it may not be embedded together with others."""
        return any(text.attempts >= MAX_BATCHED_ATTEMPTS for text in self.texts)


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
        waiting = [turn for turn in list_waiting() if turn[0] not in known]
        self.turns.extendleft(reversed(waiting))
        self.next_look = time.monotonic() + LOOK_INTERVAL_SECONDS

    def claim_batch(self) -> list[Claim]:
        """Claim a batch. No namespace begins two in a row if another waits: those after the first get what it leaves,
        and none of their suspects."""
        self.look()
        first = self.turns[0] if self.turns else None
        batch = self.fill_batch()
        if self.turns and self.turns[0] == first:
            self.turns.rotate(-1)
        return batch

    def fill_batch(self) -> list[Claim]:
        """Claim from one namespace after the other until the batch is full, but from none twice."""
        batch: list[Claim] = []
        rows, characters = MAX_CLAIMED_ROWS, MAX_CLAIMED_CHARACTERS
        for _ in range(len(self.turns)):
            claim = self.claim_next(rows, characters, suspects=not batch)
            batch += [claim] if claim.texts else []
            rows -= len(claim.texts)
            characters -= sum(len(text.content) for text in claim.texts)
            if claim.is_alone or rows <= 0 or characters <= 0:
                break
        return batch

    def claim_next(self, rows: int, characters: int, suspects: bool) -> Claim:
        """Claim memories of the namespace whose turn it is. It has another turn if more is due there."""
        claim, (namespace_id, model) = Claim([], more=False), self.turns.popleft()
        if not self.is_resting(namespace_id) and not self.is_resting(model):
            with self.guard(namespace_id):
                claim = Claim(*claim_texts(namespace_id, rows, characters, LEASE, suspects=suspects))
        if claim.more:
            self.turns.append((namespace_id, model))
        return claim

    def embed_batch(self, batch: Sequence[Claim]) -> int:
        """Embed all memories of the same model together, with no transaction open. Return how many are stored."""
        groups: dict[str | None, list[ClaimedText]] = defaultdict(list)
        for claim in batch:
            with self.guard(claim.texts[0].namespace_id):
                for text in quarantine_hopeless(claim.texts):
                    groups[text.model].append(text)
        return sum(self.embed_group(model, texts) for model, texts in groups.items())

    def embed_group(self, model: str | None, texts: Sequence[ClaimedText]) -> int:
        outcomes = embed_texts(model, [text.content for text in texts])
        owned = [list(own) for _, own in groupby(zip(texts, outcomes, strict=True), key=get_namespace_id)]
        if len(owned) > 1 and any(map(is_unforeseen, outcomes)):
            return sum(self.embed_group(model, [text for text, _ in own]) for own in owned)
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


def list_waiting() -> list[tuple[int, str | None]]:
    """Return (namespace id, its active model) of the namespaces to look into: those with due rows, or all where a part
    of the database is away."""
    return look_into_all(
        DueEmbedding.objects.list_waiting,
        lambda: list(Namespace.objects.order_by("pk").values_list("pk", "embedding_model")),
    )


def quarantine_hopeless(texts: Sequence[ClaimedText]) -> Sequence[ClaimedText]:
    """Quarantine those texts of a namespace whose attempts are used up, and return the others."""
    hopeless = [text for text in texts if text.attempts >= MAX_EMBEDDING_ATTEMPTS]
    if hopeless:
        get_due_rows(hopeless).quarantine(
            f"Given up after {MAX_EMBEDDING_ATTEMPTS} attempts: the text ends its worker or makes the embedder fail."
        )
    return [text for text in texts if text not in hopeless]


def embed_texts(model: str | None, texts: Sequence[str]) -> Sequence[Outcome | Exception]:
    """Return a vector or an error for each text; the same one for all if the embedder raised it."""
    try:
        with trace_embedding(model, len(texts)), measure(embedding_seconds):
            outcomes: Sequence[Outcome | Exception] = get_embedder_for_model(model).embed_each(texts)
    except Exception as error:  # an unexpected error is reported for each namespace in its turn
        outcomes = [error] * len(texts)
    for name, number in Counter(map(describe_outcome, outcomes)).items():
        embedding_texts.labels(name).inc(number)
    return outcomes


def describe_outcome(outcome: Outcome | Exception) -> str:
    """Return what became of a text, for the metrics. `failed`: the embedder failed at it, and may not another time."""
    if is_outage(outcome):
        return "unavailable"
    if isinstance(outcome, Exception):
        return "refused" if isinstance(outcome, TextRefused) else "failed"
    return "embedded"


def get_namespace_id(pair: Embedded) -> int:
    return pair[0].namespace_id


def is_outage(outcome: Outcome | Exception) -> bool:
    return isinstance(outcome, EmbedderUnavailable) and not isinstance(outcome, BatchFailed)


def is_unforeseen(outcome: Outcome | Exception) -> TypeGuard[Exception]:
    return isinstance(outcome, Exception) and not isinstance(outcome, EmbeddingError)


def store_outcomes(pairs: Sequence[Embedded]) -> int:
    """Store the vectors of texts of one namespace, and put off those without. Return how many vectors were stored.

    Raises what the embedder should not have raised: that counts as an attempt. Raises OperationalError if rows stay
    locked, which does not.
    """
    for _, outcome in pairs:
        if is_unforeseen(outcome):
            raise outcome
    try:
        put_off([pair for pair in pairs if isinstance(pair[1], EmbeddingError)])
        return store_vectors([pair for pair in pairs if not isinstance(pair[1], EmbeddingError)])
    except OperationalError:
        get_due_rows([text for text, _ in pairs]).release(after=OUTAGE_PAUSE)
        raise


@retry_on_deadlock
def put_off(pairs: Sequence[Embedded]) -> None:
    """Quarantine refused texts, and postpone others: one that may have made the embedder fail keeps its attempt, an
    outage counts none."""
    if not pairs:
        return
    with bounded_transaction():
        for text, outcome in pairs:
            if isinstance(outcome, TextRefused):
                get_due_rows([text]).filter(memory__content_hash=text.content_hash).quarantine(str(outcome))
        if suspects := [text for text, outcome in pairs if isinstance(outcome, BatchFailed)]:
            get_due_rows(suspects).postpone(OUTAGE_PAUSE)
        if unembedded := [text for text, outcome in pairs if is_outage(outcome)]:
            get_due_rows(unembedded).release(after=OUTAGE_PAUSE)
            log.warning("The embedder is unavailable; %d memories wait for it.", len(unembedded))


def store_vectors(pairs: Sequence[Embedded]) -> int:
    if not pairs:
        return 0
    namespace_id, model = get_namespace_id(pairs[0]), pairs[0][0].model
    if model is None:
        model = get_embedder().model
        with bounded_transaction():
            set_initial_model([namespace_id], model)
    stored = Embedding.objects.write(
        namespace_id, model, [(text.pk, text.content_hash, vector) for text, vector in pairs]
    )
    if stored < len(pairs):
        # A claim that waited for an edit to end has taken the row of the new content with the old one.
        get_due_rows([text for text, _ in pairs]).release()
    return stored


def get_due_rows(texts: Sequence[ClaimedText]) -> DueQuerySet:
    rows = DueEmbedding.objects.in_namespace(texts[0].namespace_id)
    return rows.filter(pk__in=[text.pk for text in texts])


def embed_now(namespace_id: int, pks: Sequence[UUID], patience: float) -> bool:
    """Embed memories, here or in the worker that has claimed them already. Return whether all are embedded.

    Waits at most `patience` seconds, and not at all when the embedder is unavailable or refuses a text.
    """
    until = time.monotonic() + patience
    waiting = DueEmbedding.objects.in_namespace(namespace_id).filter(pk__in=pks)
    while time.monotonic() < until:
        claimed = embed_claimed(namespace_id, pks)
        states = list(waiting.values_list("due_at", "attempts", "error"))
        if not states:
            return Memory.objects.filter(has_state(), namespace_id=namespace_id, pk__in=pks).count() == len(set(pks))
        if all(is_left(*state) for state in states):
            return False
        if not claimed:
            with step_aside():
                time.sleep(0.05)
    return False


def embed_claimed(namespace_id: int, pks: Sequence[UUID]) -> int:
    """Embed those of the memories that are due, at most a batch. Return how many were claimed."""
    texts, _ = claim_texts(namespace_id, MAX_CLAIMED_ROWS, MAX_CLAIMED_CHARACTERS, LEASE, memory_ids=pks)
    hopeful = quarantine_hopeless(texts)
    if hopeful:
        outcomes = embed_texts(hopeful[0].model, [text.content for text in hopeful])
        store_outcomes(list(zip(hopeful, outcomes, strict=True)))
    return len(texts)


def is_left(due_at: datetime, attempts: int, error: str) -> bool:
    """Whether no worker tries a text again soon: it was refused, or released after an outage (then it is not due, and
    that attempt does not count)."""
    return bool(error) or (attempts == 0 and due_at > timezone.now())
