"""Embedding a namespace anew: vectors of another model are made beside those that serve, and then take their place.

Every batch is kept by itself, so a run may be ended at any point and begun again: what is done is not done twice.
"""

import time
from collections.abc import Iterator, Sequence

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Length, Now

from memories.embedding_queue import within
from memories.embeddings import BatchFailed, EmbedderUnavailable, EmbeddingError, Outcome, TextRefused, embedder_of
from memories.models import Embedding, Memory, MemoryQuerySet, Reembedding
from memory_site.core.db.locks import AlreadyAtWork, alone
from memory_site.core.db.progress import change
from sessions_app.models import Namespace

MEMORIES, CHARACTERS = 256, 50_000
REMOVED_AT_ONCE = 1_000
#: Seconds after which no search looks for the earlier vectors any more: callers are known for half a second.
FAREWELL = 2.0
CALLED_OFF = "Called off."

FRESH = """EXISTS (
    SELECT FROM memories_embedding e
    WHERE e.memory_id = memory.id AND e.model = %(model)s AND e.content_hash = memory.content_hash
)"""
# What has no vector of the new model waits for one; what has one waits no longer.
QUEUE = f"""
INSERT INTO memories_dueembedding (memory_id, namespace_id, after, characters)
SELECT id, namespace_id, now(), char_length(content) FROM memories_memory memory
WHERE namespace_id = %(namespace)s AND NOT {FRESH}
ON CONFLICT (memory_id) DO UPDATE SET after = excluded.after, tries = 0, error = ''
"""
UNQUEUE = f"""
DELETE FROM memories_dueembedding due USING memories_memory memory
WHERE due.namespace_id = %(namespace)s AND memory.id = due.memory_id AND {FRESH}
"""


class NothingToDo(Exception):
    """Its searches meet vectors of this model already."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def begin(namespace: Namespace, model: str) -> Reembedding:
    """The namespace's open run to this model, or a new one; a run to another model is called off. Raises NothingToDo,
    AlreadyAtWork while somebody is at such a run."""
    runs = Reembedding.objects.filter(namespace=namespace, finished_at=None)
    if runs.exclude(model=model).exists():
        call_off(namespace, runs.exclude(model=model))
    if namespace.embedding_model in (None, model):
        raise NothingToDo
    whose = {"namespace": namespace, "model": model, "finished_at": None}
    return Reembedding.objects.get_or_create(**whose, defaults={"earlier_model": namespace.embedding_model})[0]


def call_off(namespace: Namespace, runs: QuerySet) -> int:
    """End runs that nobody is at: how many. What they have made is left for the next one, or for `remove_unserved`.
    Raises AlreadyAtWork."""
    with alone(work_on(namespace.pk)):
        return runs.update(error=CALLED_OFF, finished_at=Now())


def work_on(namespace_id: int) -> str:
    return f"reembedding {namespace_id}"


def run(reembedding: Reembedding) -> Iterator[Reembedding]:
    """Do a run, giving its row after each step. Raises AlreadyAtWork, and EmbedderUnavailable: then it stays open."""
    with alone(work_on(reembedding.namespace_id)):
        reembedding.refresh_from_db()
        if reembedding.finished_at is not None:
            raise AlreadyAtWork
        if reembedding.switched_at is None:
            yield from make_vectors(reembedding)
            switch(reembedding)
        yield from remove_others(reembedding)
        change(reembedding, finished_at=Now())
        yield reembedding


def make_vectors(reembedding: Reembedding) -> Iterator[Reembedding]:
    """Sweep until what came meanwhile is so little that a worker makes it after the switch."""
    made = MEMORIES + 1
    while made > MEMORIES:
        total = Memory.objects.in_namespace(reembedding.namespace_id).count()
        before = total - lacking(reembedding).count()
        change(reembedding, memories_total=total, memories_done=before, memories_refused=0, error="")
        yield reembedding
        for _ in sweep(reembedding):
            yield reembedding
        made = reembedding.memories_done - before


def lacking(reembedding: Reembedding) -> MemoryQuerySet:
    """Living memories without a vector of their present content by the new model, newest first."""
    vectors = Embedding.objects.of_model(reembedding.model)
    fresh = Exists(vectors.filter(memory=OuterRef("pk"), content_hash=OuterRef("content_hash")))
    return Memory.objects.in_namespace(reembedding.namespace_id).filter(~fresh).newest_first()


def sweep(reembedding: Reembedding) -> Iterator[None]:
    """Once over what is lacking, no transaction open while the embedder works. Raises EmbedderUnavailable."""
    embedder, older = embedder_of(reembedding.model), Q()
    rows = lacking(reembedding).annotate(characters=Length("content"))
    rows = rows.only("content", "content_hash", "created_at")
    while batch := within(rows.filter(older)[:MEMORIES], CHARACTERS):
        keep(reembedding, batch, embedder.embed_each([memory.content for memory in batch]))
        last = batch[-1]
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
        yield


def keep(reembedding: Reembedding, batch: Sequence[Memory], outcomes: Sequence[Outcome]) -> None:
    """Raises EmbedderUnavailable after what was made is kept. A text that cannot be embedded is left to the worker."""
    both = list(zip(batch, outcomes, strict=True))
    made = [(m.pk, bytes(m.content_hash), vector) for m, vector in both if not isinstance(vector, EmbeddingError)]
    kept = Embedding.objects.write(reembedding.model, made) if made else 0
    refused = sum(isinstance(outcome, (TextRefused, BatchFailed)) for outcome in outcomes)
    done = reembedding.memories_done + kept
    change(reembedding, memories_done=done, memories_refused=reembedding.memories_refused + refused)
    if len(made) + refused < len(batch):
        away = next(each for each in outcomes if isinstance(each, EmbedderUnavailable))
        change(reembedding, error=str(away))
        raise away


def switch(reembedding: Reembedding) -> None:
    """From one moment to the next searches meet the new vectors. Whoever is keeping vectors is waited for, and who
    comes later learns of the new model."""
    parameters = {"namespace": reembedding.namespace_id, "model": reembedding.model}
    with transaction.atomic(), connection.cursor() as cursor:
        whose = Namespace.objects.select_for_update().filter(pk=reembedding.namespace_id)
        list(whose)
        cursor.execute(UNQUEUE, parameters)
        cursor.execute(QUEUE, parameters)
        whose.update(embedding_model=reembedding.model)
        change(reembedding, switched_at=Now())


def remove_others(reembedding: Reembedding) -> Iterator[Reembedding]:
    """The vectors that no search meets any more."""
    time.sleep(FAREWELL)
    while remove_unserved(reembedding.namespace_id, reembedding.model):
        change(reembedding)
        yield reembedding


def remove_unserved(namespace_id: int, serving: str) -> int:
    """Remove some of a namespace's vectors of other models than the one that serves it: how many."""
    others = Embedding.objects.filter(namespace_id=namespace_id).exclude(model=serving)
    return others.filter(memory_id__in=others.values("memory_id")[:REMOVED_AT_ONCE]).delete()[0]
