"""The embedding queue and its task."""

import threading
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone

from memories import embedding_worker, tasks
from memories.embedding_queue import (
    MAX_BATCHED_ATTEMPTS,
    MAX_EMBEDDING_ATTEMPTS,
    QUARANTINE_PERIOD,
    claim_texts,
)
from memories.embedding_worker import QueueRun
from memories.embeddings import get_embedder
from memories.models import DueEmbedding, Embedding, Memory
from tests.embedders import POISON
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db


def add_all(api, *contents: str) -> list[str]:
    return api.post("/memories/bulk", {"memories": [{"content": content} for content in contents]}).json()["ids"]


def claim(namespace, limit: int, lease: timedelta = timedelta(seconds=60)) -> list:
    return claim_texts(namespace.pk, limit, 1_000, lease)[0]


def embed_batch() -> int | None:
    return next(QueueRun().embed_batches(), None)


def expire_leases() -> None:
    DueEmbedding.objects.update(due_at=timezone.now())


def test_due_memories_are_embedded(api):
    ids = add_all(api, "the harbour", "a lighthouse")
    assert tasks.embed_due() == 2
    assert not DueEmbedding.objects.exists()
    for row in Memory.objects.all():
        vector = Embedding.objects.get(memory=row).vector
        assert np.allclose(vector, get_embedder().embed([row.content])[0], atol=1e-3)
    assert api.get(f"/memories/{ids[0]}").json()["embedded"] is True


def test_second_run_embeds_nothing(api):
    add_all(api, "the harbour")
    assert [tasks.embed_due() for _ in range(3)] == [1, 0, 0]


def test_row_of_new_content_that_was_claimed_with_the_old_one_is_due_again(api, namespace):
    memory = api.add("the harbour")
    [old] = claim(namespace, 1)
    api.patch(f"/memories/{memory['id']}", {"content": "a lighthouse"})
    assert claim(namespace, 1)[0].content == "a lighthouse"
    assert embedding_worker.store_outcomes([(old, get_embedder().embed([old.content])[0])]) == 0
    assert tasks.embed_due() == 1
    assert bytes(Embedding.objects.get().content_hash) == bytes(Memory.objects.get().content_hash)


def test_vector_has_model_hash_and_labels(api, namespace):
    api.add("the harbour", user_id="ada", repo_id="site", memory_type="rag", expires_at="2190-01-01T00:00:00Z")
    tasks.embed_due()
    memory, vector = Memory.objects.get(), Embedding.objects.get()
    assert (vector.memory_id, vector.namespace, vector.user_id, vector.repo_id, vector.memory_type) == (
        *(memory.pk, namespace, "ada", "site", "rag"),
    )
    assert (vector.model, vector.content_hash, vector.expires_at) == (
        "hashing-1",
        memory.content_hash,
        memory.expires_at,
    )


def test_storing_does_not_wait_for_the_embedder(api, embedder):
    embedder("Away")
    assert api.post("/memories", {"content": "the harbour"}).status_code == 201
    assert [hit["memory"]["content"] for hit in api.search("harbour")["results"]] == ["the harbour"]


def test_expired_memory_is_not_embedded(api, embedder):
    watched = embedder("Watched")
    add_all(api, "the harbour", "gone")
    Memory.objects.filter(content="gone").update(expires_at=timezone.now())
    assert tasks.embed_due() == 1
    assert watched.texts == ["the harbour"]


def test_long_texts_are_claimed_within_the_budget(api, embedder):
    watched = embedder("Watched")
    long = [f"{number} " + "word " * 9_000 for number in range(5)]
    add_all(api, *long, "short")
    claims = []
    while (made := embed_batch()) is not None:
        claims.append(made)
    assert sum(claims) == 6
    assert max(claims) * 45_000 <= embedding_worker.MAX_CLAIMED_CHARACTERS + 45_000
    assert len(claims) >= 3
    assert len(watched.texts) == 6


def test_text_larger_than_the_budget_is_claimed_alone(api, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_CHARACTERS", 10)
    add_all(api, "longer than the whole budget", "short", "brief")
    assert tasks.embed_due() == 3


def test_claim_respects_the_row_limit(api, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 2)
    add_all(api, *[f"number {number}" for number in range(5)])
    claims = [embed_batch() for _ in range(4)]
    assert claims == [2, 2, 1, None]


def test_unclaimed_rows_count_no_attempt(api, monkeypatch, embedder):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_CHARACTERS", 10)
    embedder("Watched")
    add_all(api, "longer than the budget", "another long one")
    embed_batch()
    [waiting] = DueEmbedding.objects.filter(error="")
    assert waiting.attempts == 0
    assert waiting.due_at <= timezone.now()


def test_oldest_row_is_claimed_first(api, embedder, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 1)
    watched = embedder("Watched")
    for content in ("first", "second", "third"):
        api.add(content)
    tasks.embed_due()
    assert watched.texts == ["first", "second", "third"]


# Leases


def test_claimed_row_is_not_claimed_before_its_lease_ends(api, namespace):
    add_all(api, "the harbour", "a lighthouse")
    lease = timedelta(seconds=60)
    assert len(claim(namespace, 10, lease)) == 2
    assert claim(namespace, 10, lease) == []
    DueEmbedding.objects.update(due_at=F("due_at") - lease)
    assert len(claim(namespace, 10, lease)) == 2


def test_rows_of_a_crashed_worker_are_due_after_the_lease(api, namespace):
    add_all(api, "the harbour")
    claim(namespace, 10, tasks.LEASE)
    assert tasks.embed_due() == 0
    expire_leases()
    assert tasks.embed_due() == 1
    assert not DueEmbedding.objects.exists()


def test_no_transaction_is_open_while_embedding(api, embedder):
    claimed = []
    embedder("Watched", meanwhile=lambda texts: claimed.extend(DueEmbedding.objects.values_list("attempts", flat=True)))
    add_all(api, "the harbour")
    tasks.embed_due()
    assert claimed == [1]


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_embed_each_row_once(api, embedder, monkeypatch):
    monkeypatch.setattr(embedding_worker, "MAX_CLAIMED_ROWS", 5)
    both = threading.Barrier(2, timeout=60)
    watched = embedder("Watched", meanwhile=lambda texts: both.wait() if len(watched.seen) <= 2 else None)
    contents = [f"number {number}" for number in range(40)]
    add_all(api, *contents)
    assert sum(run_at_once([tasks.embed_due] * 2)) == 40
    assert sorted(watched.texts) == sorted(contents)
    assert Embedding.objects.count() == 40


@pytest.mark.django_db(transaction=True)
def test_concurrent_claims_share_no_row(api, namespace):
    add_all(api, *[f"number {number}" for number in range(30)])
    claims = run_at_once([lambda: claim(namespace, 10)] * 3)
    taken = [row.pk for rows in claims for row in rows]
    assert len(taken) == len(set(taken))


@pytest.mark.django_db(transaction=True)
def test_claim_skips_rows_locked_by_another_worker(api, namespace):
    add_all(api, "locked", "free")
    locked = DueEmbedding.objects.order_by("due_at").first()
    other = connection.copy()
    try:
        with other.cursor() as cursor, connection.cursor() as ours:
            cursor.execute("BEGIN")
            cursor.execute("SELECT FROM memories_dueembedding WHERE memory_id = %s FOR UPDATE", [locked.pk])
            ours.execute("SET lock_timeout = '60s'")
        claimed = claim(namespace, 10)
        assert len(claimed) == 1
        assert claimed[0].pk != locked.pk
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")


# What happens meanwhile


def run_in_thread(change) -> None:
    """Run a change on another connection, as another process would."""

    def run():
        try:
            change()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_edit_during_embedding_is_not_overwritten(api, embedder):
    memory = api.add("the old words")
    edit = {"content": "the new words"}
    watched = embedder(
        "Watched",
        meanwhile=lambda texts: (
            run_in_thread(lambda: api.patch(f"/memories/{memory['id']}", edit)) if texts == ["the old words"] else None
        ),
    )
    assert embed_batch() == 0
    assert Embedding.objects.count() == 0
    assert api.get(f"/memories/{memory['id']}").json()["embedded"] is False
    assert tasks.embed_due() == 1
    assert watched.texts == ["the old words", "the new words"]
    row = Memory.objects.get()
    assert Embedding.objects.get().content_hash == row.content_hash


@pytest.mark.django_db(transaction=True)
def test_memory_deleted_during_embedding_stays_deleted(api, embedder):
    memory = api.add("the harbour")
    embedder("Watched", meanwhile=lambda texts: run_in_thread(lambda: api.delete(f"/memories/{memory['id']}")))
    assert tasks.embed_due() == 0
    assert (Memory.objects.count(), Embedding.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_labels_changed_during_embedding_reach_the_vector(api, embedder):
    memory = api.add("the harbour", user_id="ada")
    embedder(
        "Watched",
        meanwhile=lambda texts: run_in_thread(lambda: api.patch(f"/memories/{memory['id']}", {"user_id": "ben"})),
    )
    assert tasks.embed_due() == 1
    assert Embedding.objects.get().user_id == "ben"


# Refusals, outages, poison


def test_refused_text_is_quarantined_and_others_are_embedded(api, embedder):
    embedder("Refusing")
    add_all(api, "the harbour", f"{POISON} in the well", "a lighthouse")
    assert tasks.embed_due() == 2
    refused = DueEmbedding.objects.get(memory__content__contains=POISON)
    assert refused.error == "It tastes of almonds."
    assert refused.due_at > timezone.now() + QUARANTINE_PERIOD - timedelta(minutes=5)
    assert Embedding.objects.count() == 2
    summary = api.get("/summary").json()
    assert (summary["embedding_backlog"], summary["embedding_refused"]) == (0, 1)
    assert tasks.embed_due() == 0


def test_refused_text_is_found_by_words(api, embedder):
    embedder("Refusing")
    api.add(f"{POISON} in the well")
    tasks.embed_due()
    assert len(api.search("well")["results"]) == 1


def test_refused_text_is_tried_again_after_a_day(api, embedder):
    embedder("Refusing")
    api.add(f"{POISON} in the well")
    tasks.embed_due()
    embedder("Watched")
    DueEmbedding.objects.update(due_at=F("due_at") - QUARANTINE_PERIOD)
    assert tasks.embed_due() == 1
    assert not DueEmbedding.objects.exists()


def test_new_content_of_a_refused_memory_is_embedded(api, embedder):
    embedder("Refusing")
    memory = api.add(f"{POISON} in the well")
    tasks.embed_due()
    api.patch(f"/memories/{memory['id']}", {"content": "clear water in the well"})
    assert tasks.embed_due() == 1
    assert not DueEmbedding.objects.exists()


@pytest.fixture
def long_pause(monkeypatch) -> None:
    """The pause after an outage outlasts the test."""
    monkeypatch.setattr(embedding_worker, "OUTAGE_PAUSE", timedelta(hours=1))


@pytest.mark.parametrize("away", ["Away", "unreachable server"])
def test_outage_releases_rows_without_counting_an_attempt(api, embedder, settings, long_pause, away):
    if away == "Away":
        embedder("Away")
    else:
        settings.EMBEDDINGS = {
            "default": {
                "BACKEND": "memories.embeddings.ollama.OllamaEmbedder",
                "MODEL": "nomic-embed-text",
                "OPTIONS": {"base_url": "http://127.0.0.1:9"},
            }
        }
    add_all(api, "the harbour", "a lighthouse")
    for _ in range(MAX_EMBEDDING_ATTEMPTS + 2):
        assert tasks.embed_due() == 0
        for row in DueEmbedding.objects.all():
            assert (row.attempts, row.error) == (0, "")
            assert timezone.now() < row.due_at < timezone.now() + 2 * embedding_worker.OUTAGE_PAUSE
        expire_leases()
    embedder("Watched")
    assert tasks.embed_due() == 2


def test_outage_does_not_shorten_a_quarantine(api, embedder):
    embedder("Refusing")
    api.add(POISON)
    tasks.embed_due()
    embedder("Away")
    api.add("the harbour")
    tasks.embed_due()
    assert DueEmbedding.objects.get(memory__content=POISON).due_at > timezone.now() + timedelta(hours=20)


def test_text_that_kills_its_worker_is_quarantined(api, embedder):
    embedder("Deadly")
    add_all(api, "the harbour", POISON, "a lighthouse")
    deaths = 0
    for _ in range(2 * MAX_EMBEDDING_ATTEMPTS):
        try:
            tasks.embed_due()
        except SystemExit:
            deaths += 1
            expire_leases()
    assert deaths == MAX_EMBEDDING_ATTEMPTS
    poison = DueEmbedding.objects.get(memory__content=POISON)
    assert str(MAX_EMBEDDING_ATTEMPTS) in poison.error
    assert poison.due_at > timezone.now() + QUARANTINE_PERIOD - timedelta(minutes=5)
    assert Embedding.objects.count() == 2


def test_text_that_fails_the_embedder_is_quarantined(api, embedder, long_pause):
    embedder("Failing")
    add_all(api, "the harbour", POISON, "a lighthouse")
    assert tasks.embed_due() == 2
    for tried in range(1, MAX_EMBEDDING_ATTEMPTS + 1):
        poison = DueEmbedding.objects.get(memory__content=POISON)
        assert (poison.attempts, poison.error) == (tried, "")
        assert poison.due_at > timezone.now()
        expire_leases()
        assert tasks.embed_due() == 0
    assert str(MAX_EMBEDDING_ATTEMPTS) in DueEmbedding.objects.get(memory__content=POISON).error


def test_text_that_failed_twice_is_claimed_alone(api, embedder):
    watched = embedder("Watched")
    add_all(api, "the harbour", POISON, "a lighthouse")
    DueEmbedding.objects.filter(memory__content=POISON).update(attempts=MAX_BATCHED_ATTEMPTS)
    assert tasks.embed_due() == 3
    assert [batch for batch in watched.seen if POISON in batch] == [[POISON]]


def test_new_memory_triggers_the_task(api, monkeypatch, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        api.add("the harbour")
    assert callbacks.count(tasks.embedding_trigger.notify) == 1


# Statements


def test_claim_takes_a_bounded_number_of_statements(api, django_assert_max_num_queries):
    add_all(api, *[f"number {number}" for number in range(200)])
    # Which namespaces wait, and again after a second; claim; savepoint, bound, set the model, release; write.
    with django_assert_max_num_queries(2 + 1 + 4 + 1):
        assert tasks.embed_due() == 200
