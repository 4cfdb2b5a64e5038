"""Re-embed a namespace: store vectors of another model beside the active ones, then switch searches to them.

Every batch is committed by itself, so a run may be stopped at any point and continued: no vector is made twice. A lease
allows one run of a namespace at a time. What a second one must not repeat checks it in its transaction.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Length, Now

from memories.embedding_queue import take_within_budget
from memories.embeddings import (
    BatchFailed,
    EmbedderUnavailable,
    EmbeddingError,
    Outcome,
    TextRefused,
    get_embedder_for_model,
)
from memories.models import Embedding, Memory, MemoryQuerySet, Reembedding
from memories.states import FOUND_SQL
from memory_site.core.db.locks import AlreadyRunning
from memory_site.core.db.progress import update_progress
from memory_site.core.leases.leases import HeldLease, hold_lease
from sessions_app.models import Namespace

MAX_BATCH_MEMORIES, MAX_BATCH_CHARACTERS = 256, 50_000
DELETE_BATCH_SIZE = 1_000
#: After the switch running searches still use the old model, for as long as authentication is cached: half a second.
CUTOVER_GRACE_SECONDS = 2.0
CANCELLED = "Cancelled."

HAS_CURRENT_VECTOR_SQL = """EXISTS (
    SELECT FROM memories_embedding e
    WHERE e.memory_id = memory.id AND e.model = %(model)s AND e.content_hash = memory.content_hash
)"""
# Queue the memories without a vector of the new model, and remove those with one from the queue.
ENQUEUE_MISSING_SQL = f"""
INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
SELECT id, namespace_id, now(), char_length(content) FROM memories_memory memory
WHERE namespace_id = %(namespace)s AND {FOUND_SQL.format(memory="memory")} AND NOT {HAS_CURRENT_VECTOR_SQL}
ON CONFLICT (namespace_id, memory_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0, error = ''
"""
DEQUEUE_EMBEDDED_SQL = f"""
DELETE FROM memories_dueembedding due USING memories_memory memory
WHERE due.namespace_id = %(namespace)s AND memory.id = due.memory_id AND {HAS_CURRENT_VECTOR_SQL}
"""


class ModelAlreadyActive(Exception):
    """This model is active already."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def get_or_start_run(namespace: Namespace, model: str) -> Reembedding:
    """Return the namespace's open run to this model, or a new one. Cancel an open run to another model.

    Raises ModelAlreadyActive, or AlreadyRunning while a process executes the run to cancel.
    """
    runs = Reembedding.objects.filter(namespace=namespace, finished_at=None)
    if runs.exclude(model=model).exists():
        cancel_runs(namespace, runs.exclude(model=model))
    if namespace.embedding_model in (None, model):
        raise ModelAlreadyActive
    identity = {"namespace": namespace, "model": model, "finished_at": None}
    return Reembedding.objects.get_or_create(**identity, defaults={"earlier_model": namespace.embedding_model})[0]


def cancel_runs(namespace: Namespace, runs: QuerySet) -> int:
    """Finish runs as cancelled. Return how many. Their vectors stay, for the next run or `delete_inactive_vectors`.

    Raises AlreadyRunning while a process executes a run of the namespace.
    """
    with hold_lease(name_lease(namespace.pk)) as lease, lease.transaction():
        return runs.update(error=CANCELLED, finished_at=Now())


def name_lease(namespace_id: int) -> str:
    return f"reembedding {namespace_id}"


def run_reembedding(reembedding: Reembedding) -> Iterator[Reembedding]:
    """Execute a run, and yield its row after each step.

    Raises AlreadyRunning, and EmbedderUnavailable: then the run stays open.
    """
    with hold_lease(name_lease(reembedding.namespace_id)) as lease:
        reembedding.refresh_from_db()
        if reembedding.finished_at is not None:
            raise AlreadyRunning
        if reembedding.switched_at is None:
            yield from make_vectors(reembedding, lease)
            switch_model(reembedding, lease)
        yield from delete_old_vectors(reembedding, lease)
        with lease.transaction():
            update_progress(reembedding, finished_at=Now())
        yield reembedding


def make_vectors(reembedding: Reembedding, lease: HeldLease) -> Iterator[Reembedding]:
    """Embed what lacks a vector, repeatedly, until one pass had so little to do that a worker can do the rest after the
    switch."""
    made = MAX_BATCH_MEMORIES + 1
    while made > MAX_BATCH_MEMORIES:
        total = Memory.objects.in_namespace(reembedding.namespace_id).count()
        before = total - select_missing(reembedding).count()
        update_progress(reembedding, memories_total=total, memories_done=before, memories_refused=0, error="")
        yield reembedding
        for _ in embed_missing(reembedding, lease):
            yield reembedding
        made = reembedding.memories_done - before


def select_missing(reembedding: Reembedding) -> MemoryQuerySet:
    """Select live memories without a vector of their current content by the new model, newest first."""
    vectors = Embedding.objects.of_model(reembedding.model)
    current = Exists(vectors.filter(memory=OuterRef("pk"), content_hash=OuterRef("content_hash")))
    return Memory.objects.in_namespace(reembedding.namespace_id).filter(~current).newest_first()


def embed_missing(reembedding: Reembedding, lease: HeldLease) -> Iterator[None]:
    """Embed the missing memories once, with no transaction open while the embedder works. Yield after each batch.

    Raises EmbedderUnavailable, and LeaseLost.
    """
    embedder, older = get_embedder_for_model(reembedding.model), Q()
    rows = select_missing(reembedding).annotate(characters=Length("content"))
    rows = rows.only("content", "content_hash", "created_at")
    while batch := take_within_budget(list(rows.filter(older)[:MAX_BATCH_MEMORIES]), MAX_BATCH_CHARACTERS):
        outcomes = embedder.embed_each([memory.content for memory in batch])
        lease.check()
        store_outcomes(reembedding, batch, outcomes)
        last = batch[-1]
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        yield


def store_outcomes(reembedding: Reembedding, batch: Sequence[Memory], outcomes: Sequence[Outcome]) -> None:
    """Store the vectors of a batch and update the run's counts. Texts that cannot be embedded are left to the worker.

    Raises EmbedderUnavailable if the embedder failed for a part of the batch, after the rest is stored.
    """
    pairs = list(zip(batch, outcomes, strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in pairs if not isinstance(vector, EmbeddingError)]
    stored = Embedding.objects.write(reembedding.namespace_id, reembedding.model, made) if made else 0
    refused = sum(isinstance(outcome, (TextRefused, BatchFailed)) for outcome in outcomes)
    done = reembedding.memories_done + stored
    update_progress(reembedding, memories_done=done, memories_refused=reembedding.memories_refused + refused)
    if len(made) + refused < len(batch):
        outage = next(outcome for outcome in outcomes if isinstance(outcome, EmbedderUnavailable))
        update_progress(reembedding, error=str(outage))
        raise outage


def switch_model(reembedding: Reembedding, lease: HeldLease) -> None:
    """Make the new model the active one. The lock of the namespace row waits for transactions that store vectors; later
    ones see the new model."""
    parameters: dict[str, Any] = {"namespace": reembedding.namespace_id, "model": reembedding.model}
    with lease.transaction(), connection.cursor() as cursor:
        namespace = Namespace.objects.select_for_update().filter(pk=reembedding.namespace_id)
        list(namespace)
        cursor.execute(DEQUEUE_EMBEDDED_SQL, parameters)
        cursor.execute(ENQUEUE_MISSING_SQL, parameters)
        namespace.update(embedding_model=reembedding.model)
        update_progress(reembedding, switched_at=Now())


def delete_old_vectors(reembedding: Reembedding, lease: HeldLease) -> Iterator[Reembedding]:
    """Delete the vectors of other models, in batches, when no search uses them any more."""
    time.sleep(CUTOVER_GRACE_SECONDS)
    while delete_a_batch(reembedding, lease):
        yield reembedding


def delete_a_batch(reembedding: Reembedding, lease: HeldLease) -> int:
    with lease.transaction():
        update_progress(reembedding)
        return delete_inactive_vectors(reembedding.namespace_id, reembedding.model)


def delete_inactive_vectors(namespace_id: int, active_model: str) -> int:
    """Delete a batch of a namespace's vectors of other models than the active one. Return how many."""
    others = Embedding.objects.filter(namespace_id=namespace_id).exclude(model=active_model)
    return others.filter(memory_id__in=others.values("memory_id")[:DELETE_BATCH_SIZE]).delete()[0]
