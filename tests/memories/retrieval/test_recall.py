"""Recall: a search weighted by present relevance, which counts an access on each result."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection, transaction

from memories import tasks
from memories.models import DueEmbedding, Memory
from tests.wire import fingerprint_tables, is_problem, run_at_once

pytestmark = pytest.mark.django_db
EVERY_MODE = pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])


def format_time_ago(**time: float) -> str:
    return str(datetime.now(UTC) - timedelta(**time))


def recall(api, query: str = "harbour", **fields: object) -> dict:
    response = api.post("/memories/recall", {"query": query, **fields})
    assert response.status_code == 200, response.content
    return response.json()


def list_ids(answer: dict) -> list[str]:
    return [hit["memory"]["id"] for hit in answer["results"]]


@pytest.fixture
def harbours(api) -> list[str]:
    """Return the ids of memories that differ in a number only."""
    found = [api.add(f"The harbour opens at nine, note {number}.")["id"] for number in range(8)]
    tasks.embed_due()
    return found


@EVERY_MODE
def test_recall_finds_what_a_search_finds(api, harbours, mode):
    answer = recall(api, mode=mode)
    assert set(list_ids(answer)) == set(harbours)
    assert (answer["mode"], answer["degraded"]) == (mode, False)
    scores = [hit["score"] for hit in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@EVERY_MODE
@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"importance": 5}, {"importance": 1}),
        ({"confidence": 1.0}, {"confidence": 0.1}),
        ({}, {"created_at": format_time_ago(hours=10)}),
        ({"memory_type": "insight", "created_at": format_time_ago(days=90)}, {"created_at": format_time_ago(days=90)}),
        ({"base_relevance": 1.0}, {"base_relevance": 0.2}),
    ],
    ids=["importance", "confidence", "age", "type", "base relevance"],
)
def test_a_more_valuable_memory_ranks_first(api, mode, better, worse):
    second = api.add("The harbour opens at nine, note 1.", **worse)["id"]
    first = api.add("The harbour opens at nine, note 2.", **better)["id"]
    tasks.embed_due()
    assert list_ids(recall(api, mode=mode)) == [first, second]


def test_a_recently_used_memory_ranks_first(api, harbours):
    Memory.objects.update(created_at=format_time_ago(days=3))
    last = list_ids(api.search("harbour"))[-1]
    Memory.objects.filter(pk=last).update(last_accessed_at=format_time_ago(minutes=5), access_count=1)
    assert list_ids(recall(api))[0] == last


def test_an_old_exact_answer_ranks_before_merely_new_memories(api):
    old = api.add("Invoice INV-20391 was paid by the Lowick council.", created_at=format_time_ago(days=30))["id"]
    for number in range(60):
        api.add(f"Invoice {number} of today was sent to the council.")
    tasks.embed_due()
    assert list_ids(recall(api, "INV-20391"))[0] == old


@EVERY_MODE
def test_more_candidates_than_the_limit_are_ranked(api, mode):
    """The best memory is not among the first five of the search."""
    for number in range(40):
        api.add(f"The harbour opens at nine, note {number}.", importance=1)
    tasks.embed_due()
    last = list_ids(api.search("harbour", mode=mode, limit=40))[-1]
    Memory.objects.filter(pk=last).update(importance=5)
    assert list_ids(recall(api, mode=mode, limit=5))[0] == last


@EVERY_MODE
def test_each_result_is_counted_once_and_no_other_memory(api, harbours, mode):
    found = list_ids(recall(api, mode=mode, limit=3))
    counts = dict(Memory.objects.values_list("pk", "access_count"))
    assert {str(pk): count for pk, count in counts.items()} == {pk: int(pk in found) for pk in harbours}
    assert Memory.objects.exclude(last_accessed_at=None).count() == 3


def test_relevance_is_the_value_before_the_access(api):
    api.add("The harbour opens at nine.", created_at=format_time_ago(days=30))
    tasks.embed_due()
    first, second = (recall(api)["results"][0] for _ in range(2))
    assert (first["relevance"], first["memory"]["access_count"]) == (0.05, 0)
    assert second["relevance"] == pytest.approx(0.3, abs=0.01)
    assert second["memory"]["access_count"] == 1


def test_an_access_changes_only_its_own_columns(api, harbours):
    Memory.objects.update(access_count=7, last_accessed_at=datetime.now(UTC))
    kept = [field.name for field in Memory._meta.fields if field.name not in ("access_count", "last_accessed_at")]
    before, tables = list(Memory.objects.order_by("pk").values(*kept)), fingerprint_tables()
    recall(api)
    assert list(Memory.objects.order_by("pk").values(*kept)) == before
    assert {table for table, rows in fingerprint_tables().items() if rows != tables[table]} == {"memories_memory"}
    assert not DueEmbedding.objects.exists()


def test_recall_takes_two_statements_after_authentication(api, harbours, takes):
    for limit in (1, 8):
        with takes(2):
            assert len(recall(api, limit=limit)["results"]) == limit
    with takes(1):
        assert recall(api, filters={"user_id": "nobody"})["results"] == []


def test_a_retry_with_the_same_key_counts_once(api, harbours):
    answers = [api.post("/memories/recall", {"query": "harbour"}, **{"Idempotency-Key": "one"}) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert set(Memory.objects.values_list("access_count", flat=True)) == {1}


def test_filters_and_threshold_work_as_in_a_search(api, harbours):
    other = api.add("The harbour of Ada opens at ten.", user_id="ada")["id"]
    tasks.embed_due()
    assert list_ids(recall(api, filters={"user_id": "ada"})) == [other]
    assert list_ids(recall(api, "zebra crossing", threshold=0.999)) == []
    assert "explain" in recall(api, explain=True)["results"][0]


def test_recall_requires_write_access(reader, harbours):
    assert is_problem(reader.post("/memories/recall", {"query": "harbour"}), 403)


def test_another_namespace_is_neither_searched_nor_counted(outsider, harbours):
    before = fingerprint_tables()
    assert recall(outsider)["results"] == []
    assert fingerprint_tables() == before


def test_without_the_embedder_recall_searches_words_only(api, harbours, embedder):
    embedder("Away")
    answer = recall(api, "harbour note 3")
    assert answer["degraded"] is True
    assert list_ids(answer)[0] == harbours[3]
    assert Memory.objects.get(pk=harbours[3]).access_count == 1
    assert is_problem(api.post("/memories/recall", {"query": "harbour", "mode": "vector"}), 503)


def test_values_too_small_to_multiply_are_no_error(api):
    api.add("harbour", base_relevance=5e-324, confidence=5e-324, created_at="2000-01-02T00:00:00Z")
    tasks.embed_due()
    assert recall(api)["results"][0]["relevance"] == 0.05


@pytest.mark.django_db(transaction=True)
def test_concurrent_recalls_of_the_same_memories_are_all_counted(api):
    items = [{"content": f"The harbour opens at nine, note {number}."} for number in range(30)]
    api.post("/memories/bulk", {"memories": items})
    tasks.embed_due()
    queries = ["harbour", "note 3", "nine harbour note", "opens"] * 4
    answers = run_at_once([partial(api.post, "/memories/recall", {"query": query, "limit": 30}) for query in queries])
    assert {answer.status_code for answer in answers} == {200}
    counted = sum(len(answer.json()["results"]) for answer in answers)
    assert counted >= 300
    assert sum(Memory.objects.values_list("access_count", flat=True)) == counted


@pytest.mark.django_db(transaction=True)
def test_an_access_updates_no_index(api):
    """A HOT update: the new version is on the same page, and no index is updated."""
    for number in range(5):
        api.add(f"The harbour opens at nine, note {number}.")
    tasks.embed_due()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM memories_memory")
    with transaction.atomic():
        before = count_hot_updates()
        assert len(recall(api)["results"]) == 5
        assert count_hot_updates() - before == 5


def count_hot_updates() -> int:
    """Those of this connection: others may report theirs later."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'memories_memory'")
        return cursor.fetchone()[0]


# One memory by its id


def recall_one(api, pk: str) -> dict:
    response = api.post(f"/memories/{pk}/recall")
    assert response.status_code == 200, response.content
    return response.json()


def test_recalling_one_memory_returns_it_and_counts_once(api, takes):
    memory = api.add("The harbour opens at nine.", importance=4, tags=["a"], metadata={"b": 1}, data={"c": [1]})
    memory.pop("created")
    before = datetime.now(UTC)
    with takes(1):
        recalled = recall_one(api, memory["id"])
    assert recalled == memory | {"access_count": 1, "last_accessed_at": recalled["last_accessed_at"]}
    assert before <= datetime.fromisoformat(recalled["last_accessed_at"]) <= datetime.now(UTC)
    assert api.get(f"/memories/{memory['id']}").json() == recalled
    assert recall_one(api, memory["id"])["access_count"] == 2


def test_getting_one_memory_is_not_counted(api):
    memory = api.add("The harbour opens at nine.")
    for _ in range(3):
        assert api.get(f"/memories/{memory['id']}").json()["access_count"] == 0


def test_concurrent_recalls_of_one_memory_are_all_counted(transactional_db, api):
    memory = api.add("The harbour opens at nine.")["id"]
    counts = [
        each.json()["access_count"] for each in run_at_once([partial(api.post, f"/memories/{memory}/recall")] * 20)
    ]
    assert sorted(counts) == list(range(1, 21))


def test_unknown_expired_and_foreign_memories_cannot_be_recalled(api, outsider, reader):
    memory = api.add("The harbour opens at nine.")["id"]
    before = fingerprint_tables()
    assert is_problem(outsider.post(f"/memories/{memory}/recall"), 404)
    assert is_problem(api.post(f"/memories/{uuid4()}/recall"), 404)
    assert is_problem(reader.post(f"/memories/{memory}/recall"), 403)
    assert fingerprint_tables() == before
    Memory.objects.update(expires_at=format_time_ago(seconds=1))
    assert is_problem(api.post(f"/memories/{memory}/recall"), 404)
    assert Memory.objects.get().access_count == 0
