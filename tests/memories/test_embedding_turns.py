"""Namespaces take turns in the embedding queue: none waits behind another's queue, its locks or its failures."""

from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from memories import embedding_worker, tasks
from memories.embedding_queue import MAX_BATCHED_ATTEMPTS, MAX_EMBEDDING_ATTEMPTS
from memories.embedding_worker import QueueRun
from memories.embeddings.hashing import HashingEmbedder
from memories.models import DueEmbedding, Embedding, Memory
from memory_site.core.db import locks
from sessions_app.models import Namespace
from sessions_app.namespaces import NamespacesFailed
from tests.embedders import POISON

pytestmark = pytest.mark.django_db


class Surprised(HashingEmbedder):
    """Raises what no embedder should, on every batch with poison in it."""

    def embed_batch(self, texts):
        if any(POISON in text for text in texts):
            raise ValueError("What is this?")
        return super().embed_batch(texts)


def store(namespace: Namespace, *contents: str, waiting: timedelta = timedelta(0)) -> None:
    Memory.objects.bulk_create(
        [Memory(namespace=namespace, content=content, source_system="test") for content in contents]
    )
    DueEmbedding.objects.filter(namespace=namespace).update(due_at=Now() - waiting)


def count_vectors(namespace: Namespace) -> int:
    return Embedding.objects.filter(namespace=namespace).count()


def make_namespaces(count: int) -> list[Namespace]:
    return Namespace.objects.bulk_create([Namespace(name=f"space {number}") for number in range(count)])


@contextmanager
def locked_memories(namespace: Namespace):
    """Another transaction has changed the namespace's memories and does not end."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT FROM memories_memory WHERE namespace_id = %s FOR UPDATE", [namespace.pk])
            yield
            cursor.execute("ROLLBACK")  # a server may notice later that a connection was closed
    finally:
        other.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "MAX_BACKGROUND_WAIT_SECONDS", 0.2)


def test_a_short_queue_does_not_wait_behind_a_long_one(namespace, elsewhere, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 10)
    store(namespace, *[f"number {number}" for number in range(1_000)], waiting=timedelta(hours=1))
    store(elsewhere, "a", "b", "c")
    list(islice(QueueRun().embed_batches(), 2))
    assert (count_vectors(namespace), count_vectors(elsewhere)) == (17, 3)


def test_namespaces_begin_batches_in_turns_so_that_none_gets_only_what_another_leaves(
    namespace, elsewhere, monkeypatch
):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_CHARACTERS", 100)
    store(namespace, *[f"{number:030}" for number in range(40)], waiting=timedelta(hours=1))
    store(elsewhere, *[f"{number:05}" for number in range(40)])
    list(islice(QueueRun().embed_batches(), 4))
    assert (count_vectors(namespace), count_vectors(elsewhere)) == (7, 40)


def test_who_begins_to_wait_during_a_run_has_the_next_turn(namespace, elsewhere, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 10)
    monkeypatch.setattr(embedding_worker, "LOOK_INTERVAL_SECONDS", 0)
    store(namespace, *[f"number {number}" for number in range(200)])
    batches = QueueRun().embed_batches()
    next(batches)
    store(elsewhere, "a", "b", "c")
    next(batches)
    assert count_vectors(elsewhere) == 3


def test_who_has_waited_longest_comes_first(namespace, elsewhere, embedder, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 1)
    watched = embedder("Watched")
    store(namespace, "later")
    store(elsewhere, "sooner", waiting=timedelta(minutes=1))
    tasks.embed_due()
    assert watched.texts == ["sooner", "later"]


def test_many_short_queues_are_embedded_in_one_batch(db, embedder):
    watched = embedder("Watched")
    for namespace in make_namespaces(40):
        store(namespace, f"in {namespace.name}")
    assert tasks.embed_due() == 40
    assert len(watched.seen) == 1


def test_idle_namespaces_cost_one_statement(db, django_assert_num_queries):
    make_namespaces(50)
    with django_assert_num_queries(1):
        assert tasks.embed_due() == 0


def test_a_run_ends_where_only_expired_memories_wait(namespace):
    store(namespace, "gone")
    Memory.objects.update(expires_at=Now())
    assert tasks.embed_due() == 0


def test_suspected_texts_of_two_namespaces_are_embedded_alone(namespace, elsewhere, embedder):
    watched = embedder("Watched")
    for each in (namespace, elsewhere):
        store(each, f"suspected of {each.name}", f"good of {each.name}")
    suspected = DueEmbedding.objects.filter(memory__content__startswith="suspected")
    suspected.update(attempts=MAX_BATCHED_ATTEMPTS, due_at=F("due_at") - timedelta(seconds=1))
    assert tasks.embed_due() == 4
    assert sorted(batch for batch in watched.seen if "suspected" in batch[0]) == [
        ["suspected of elsewhere"],
        ["suspected of ours"],
    ]


# What stops one namespace stops no other


def test_a_namespace_whose_embedder_is_away_stops_no_other(namespace, elsewhere, embedder):
    embedder("Watched")
    Namespace.objects.filter(pk=namespace.pk).update(embedding_model="openai/gone")
    store(namespace, *[f"number {number}" for number in range(300)], waiting=timedelta(hours=1))
    store(elsewhere, "a", "b", "c")
    assert tasks.embed_due() == 3
    assert count_vectors(elsewhere) == 3
    assert set(DueEmbedding.objects.values_list("attempts", flat=True)) == {0}


def test_an_embedder_that_is_away_is_asked_once_in_a_run(db, embedder, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 2)
    monkeypatch.setattr(embedding_worker, "OUTAGE_PAUSE", timedelta(hours=1))
    embedder("Away")
    Namespace.objects.bulk_create([Namespace(name=f"{n}", embedding_model="hashing-1") for n in range(6)])
    for namespace in Namespace.objects.all():
        store(namespace, "a", "b")
    assert tasks.embed_due() == 0
    assert DueEmbedding.objects.due().count() == 10


def test_an_embedder_that_raises_what_it_should_not_stops_no_other(namespace, elsewhere, embedder, settings, caplog):
    settings.EMBEDDINGS = {"default": {"BACKEND": f"{__name__}.Surprised", "MODEL": "hashing-1", "OPTIONS": {}}}
    store(namespace, POISON, waiting=timedelta(hours=1))
    store(elsewhere, "a", "b", "c")
    with pytest.raises(NamespacesFailed, match="Embedding failed in ours"):
        tasks.embed_due()
    assert count_vectors(elsewhere) == 3
    assert "Embedding failed in the namespace ours" in caplog.text
    assert DueEmbedding.objects.get().attempts == 1


def test_what_an_embedder_should_not_raise_is_quarantined(namespace, settings):
    settings.EMBEDDINGS = {"default": {"BACKEND": f"{__name__}.Surprised", "MODEL": "hashing-1", "OPTIONS": {}}}
    store(namespace, POISON)
    for _ in range(MAX_EMBEDDING_ATTEMPTS):
        with pytest.raises(NamespacesFailed):
            tasks.embed_due()
        DueEmbedding.objects.update(due_at=Now())
    assert tasks.embed_due() == 0
    assert DueEmbedding.objects.get().error


@pytest.mark.django_db(transaction=True)
def test_a_namespace_whose_memories_are_locked_stops_no_other(namespace, elsewhere, impatient, caplog):
    store(namespace, *[f"number {number}" for number in range(300)], waiting=timedelta(hours=1))
    store(elsewhere, "a", "b", "c")
    with locked_memories(namespace), pytest.raises(NamespacesFailed, match="ours"):
        tasks.embed_due()
    assert (count_vectors(namespace), count_vectors(elsewhere)) == (0, 3)
    assert "Embedding failed in the namespace ours" in caplog.text
    assert set(DueEmbedding.objects.values_list("attempts", flat=True)) == {0}
    DueEmbedding.objects.update(due_at=Now())
    assert tasks.embed_due() == 300


@pytest.fixture
def broken_queue(transactional_db, namespace):
    """The part of the queue that belongs to `namespace` cannot be claimed from."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'away'; END $$")
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE UPDATE OF attempts ON memories_dueembedding FOR EACH ROW "
            f"WHEN (NEW.namespace_id = {namespace.pk}) EXECUTE FUNCTION refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_cannot_be_claimed_from_stops_no_other(namespace, elsewhere, broken_queue):
    store(namespace, "a", waiting=timedelta(hours=1))
    store(elsewhere, "b", "c")
    with pytest.raises(NamespacesFailed, match="ours"):
        tasks.embed_due()
    assert (count_vectors(namespace), count_vectors(elsewhere)) == (0, 2)
