"""Embedding a namespace anew: vectors of another model are made beside those that serve, and then take their place.

Every batch is kept by itself, so a run may be ended at any point and begun again: what is done is not done twice.
"""

import time
from collections.abc import Iterator, Sequence

from django.db import connection, transaction
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
from memory_site.core.db.locks import AlreadyRunning, advisory_lock
from memory_site.core.db.progress import update_progress
from sessions_app.models import Namespace

MAX_BATCH_MEMORIES, MAX_BATCH_CHARACTERS = 256, 50_000
DELETE_BATCH_SIZE = 1_000
#: Seconds after which no search looks for the earlier vectors any more: callers are known for half a second.
CUTOVER_GRACE_SECONDS = 2.0
CANCELLED = "Called off."

HAS_CURRENT_VECTOR_SQL = """EXISTS (
    SELECT FROM memories_embedding e
    WHERE e.memory_id = memory.id AND e.model = %(model)s AND e.content_hash = memory.content_hash
)"""
# What has no vector of the new model waits for one; what has one waits no longer.
ENQUEUE_MISSING_SQL = f"""
INSERT INTO memories_dueembedding (memory_id, namespace_id, due_at, characters)
SELECT id, namespace_id, now(), char_length(content) FROM memories_memory memory
WHERE namespace_id = %(namespace)s AND NOT {HAS_CURRENT_VECTOR_SQL}
ON CONFLICT (memory_id) DO UPDATE SET due_at = excluded.due_at, attempts = 0, error = ''
"""
DEQUEUE_EMBEDDED_SQL = f"""
DELETE FROM memories_dueembedding due USING memories_memory memory
WHERE due.namespace_id = %(namespace)s AND memory.id = due.memory_id AND {HAS_CURRENT_VECTOR_SQL}
"""


class ModelAlreadyActive(Exception):
    """Its searches meet vectors of this model already."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def get_or_start_run(namespace: Namespace, model: str) -> Reembedding:
    """The namespace's open run to this model, or a new one; a run to another model is called off. Raises NothingToDo,
    AlreadyAtWork while somebody is at such a run."""
    runs = Reembedding.objects.filter(namespace=namespace, finished_at=None)
    if runs.exclude(model=model).exists():
        cancel_runs(namespace, runs.exclude(model=model))
    if namespace.embedding_model in (None, model):
        raise ModelAlreadyActive
    whose = {"namespace": namespace, "model": model, "finished_at": None}
    return Reembedding.objects.get_or_create(**whose, defaults={"earlier_model": namespace.embedding_model})[0]


def cancel_runs(namespace: Namespace, runs: QuerySet) -> int:
    """End runs that nobody is at: how many. What they have made is left for the next one, or for `remove_unserved`.
    Raises AlreadyAtWork."""
    with advisory_lock(format_lock_name(namespace.pk)):
        return runs.update(error=CANCELLED, finished_at=Now())


def format_lock_name(namespace_id: int) -> str:
    return f"reembedding {namespace_id}"


def run_reembedding(reembedding: Reembedding) -> Iterator[Reembedding]:
    """Do a run, giving its row after each step. Raises AlreadyAtWork, and EmbedderUnavailable: then it stays open."""
    with advisory_lock(format_lock_name(reembedding.namespace_id)):
        reembedding.refresh_from_db()
        if reembedding.finished_at is not None:
            raise AlreadyRunning
        if reembedding.switched_at is None:
            yield from make_vectors(reembedding)
            switch_model(reembedding)
        yield from delete_old_vectors(reembedding)
        update_progress(reembedding, finished_at=Now())
        yield reembedding


def make_vectors(reembedding: Reembedding) -> Iterator[Reembedding]:
    """Sweep until what came meanwhile is so little that a worker makes it after the switch."""
    made = MAX_BATCH_MEMORIES + 1
    while made > MAX_BATCH_MEMORIES:
        total = Memory.objects.in_namespace(reembedding.namespace_id).count()
        before = total - select_missing(reembedding).count()
        update_progress(reembedding, memories_total=total, memories_done=before, memories_refused=0, error="")
        yield reembedding
        for _ in embed_missing(reembedding):
            yield reembedding
        made = reembedding.memories_done - before


def select_missing(reembedding: Reembedding) -> MemoryQuerySet:
    """Living memories without a vector of their present content by the new model, newest first."""
    vectors = Embedding.objects.of_model(reembedding.model)
    fresh = Exists(vectors.filter(memory=OuterRef("pk"), content_hash=OuterRef("content_hash")))
    return Memory.objects.in_namespace(reembedding.namespace_id).filter(~fresh).newest_first()


def embed_missing(reembedding: Reembedding) -> Iterator[None]:
    """Once over what is lacking, no transaction open while the embedder works. Raises EmbedderUnavailable."""
    embedder, older = get_embedder_for_model(reembedding.model), Q()
    rows = select_missing(reembedding).annotate(characters=Length("content"))
    rows = rows.only("content", "content_hash", "created_at")
    while batch := take_within_budget(rows.filter(older)[:MAX_BATCH_MEMORIES], MAX_BATCH_CHARACTERS):
        store_outcomes(reembedding, batch, embedder.embed_each([memory.content for memory in batch]))
        last = batch[-1]
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        yield


def store_outcomes(reembedding: Reembedding, batch: Sequence[Memory], outcomes: Sequence[Outcome]) -> None:
    """Raises EmbedderUnavailable after what was made is kept. A text that cannot be embedded is left to the worker."""
    both = list(zip(batch, outcomes, strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in both if not isinstance(vector, EmbeddingError)]
    kept = Embedding.objects.write(reembedding.model, made) if made else 0
    refused = sum(isinstance(outcome, (TextRefused, BatchFailed)) for outcome in outcomes)
    done = reembedding.memories_done + kept
    update_progress(reembedding, memories_done=done, memories_refused=reembedding.memories_refused + refused)
    if len(made) + refused < len(batch):
        away = next(each for each in outcomes if isinstance(each, EmbedderUnavailable))
        update_progress(reembedding, error=str(away))
        raise away


def switch_model(reembedding: Reembedding) -> None:
    """From one moment to the next searches meet the new vectors. Whoever is keeping vectors is waited for, and who
    comes later learns of the new model."""
    parameters = {"namespace": reembedding.namespace_id, "model": reembedding.model}
    with transaction.atomic(), connection.cursor() as cursor:
        whose = Namespace.objects.select_for_update().filter(pk=reembedding.namespace_id)
        list(whose)
        cursor.execute(DEQUEUE_EMBEDDED_SQL, parameters)
        cursor.execute(ENQUEUE_MISSING_SQL, parameters)
        whose.update(embedding_model=reembedding.model)
        update_progress(reembedding, switched_at=Now())


def delete_old_vectors(reembedding: Reembedding) -> Iterator[Reembedding]:
    """The vectors that no search meets any more."""
    time.sleep(CUTOVER_GRACE_SECONDS)
    while delete_unserved_vectors(reembedding.namespace_id, reembedding.model):
        update_progress(reembedding)
        yield reembedding


def delete_unserved_vectors(namespace_id: int, serving: str) -> int:
    """Remove some of a namespace's vectors of other models than the one that serves it: how many."""
    others = Embedding.objects.filter(namespace_id=namespace_id).exclude(model=serving)
    return others.filter(memory_id__in=others.values("memory_id")[:DELETE_BATCH_SIZE]).delete()[0]
