"""Adding many memories in one request."""

import time
from functools import partial

import pytest
from django.utils import timezone

from memories import tasks
from memories.models import Embedding, Memory
from memory_site.core.db import retry
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
UNIT_VECTOR = [1.0] + [0.0] * 767


def add_bulk(api, *memories: dict | str) -> dict:
    items = [{"content": each} if isinstance(each, str) else each for each in memories]
    response = api.post("/memories/bulk", {"memories": items})
    assert response.status_code == 201, response.content
    return response.json()


def test_ids_are_in_the_order_of_the_request(api):
    contents = [f"number {number}" for number in (5, 3, 9, 1, 7)]
    answer = add_bulk(api, *contents)
    assert (answer["created"], answer["existing"]) == (5, 0)
    assert [api.get(f"/memories/{each}").json()["content"] for each in answer["ids"]] == contents


def test_existing_memory_keeps_its_id(api):
    old = api.add("tea", tags=["old"])["id"]
    answer = add_bulk(api, "coffee", {"content": "tea", "tags": ["new"]}, "milk")
    assert (answer["created"], answer["existing"]) == (2, 1)
    assert answer["ids"][1] == old
    assert api.get(f"/memories/{old}").json()["tags"] == ["old", "new"]


def test_repeats_in_a_bulk_are_one_memory(api):
    answer = add_bulk(
        api,
        {"content": "tea", "tags": ["a"], "importance": 2},
        "coffee",
        {"content": "tea", "tags": ["b"], "importance": 5, "metadata": {"last": True}},
        {"content": "tea", "user_id": "ada"},
        {"content": "tea", "tags": ["c"]},
    )
    assert (answer["created"], answer["existing"]) == (3, 2)
    assert answer["ids"][0] == answer["ids"][2] == answer["ids"][4]
    assert len(set(answer["ids"])) == 3
    tea = api.get(f"/memories/{answer['ids'][0]}").json()
    assert (sorted(tea["tags"]), tea["importance"], tea["metadata"]) == (["a", "b", "c"], 5, {"last": True})


def test_later_repeat_overrides_an_earlier_one(api):
    answer = add_bulk(api, *({"content": "tea", "metadata": {"last": number}} for number in range(5)))
    assert api.get(f"/memories/{answer['ids'][0]}").json()["metadata"] == {"last": 4}


def test_same_bulk_again_creates_nothing(api):
    first = add_bulk(api, "tea", "coffee")
    assert add_bulk(api, "tea", "coffee") == {"created": 0, "existing": 2, "ids": first["ids"]}


@pytest.mark.parametrize("bad", [{"content": " "}, {"content": "x", "importance": 9}, {}, "text", {"x": 1}], ids=str)
def test_invalid_item_is_named_and_nothing_is_stored(api, bad):
    response = api.post("/memories/bulk", {"memories": [{"content": "tea"}, {"content": "coffee"}, bad]})
    assert is_problem(response, 422)
    assert {field.rsplit(".", 1)[0] if field.count(".") > 1 else field for field in list_blamed_fields(response)} == {
        "memories.2"
    }
    assert Memory.objects.count() == 0


def test_every_invalid_item_is_named(api):
    response = api.post("/memories/bulk", {"memories": [{"content": ""}, {"content": "tea"}, {"content": "\0"}]})
    assert list_blamed_fields(response) == {"memories.0.content", "memories.2.content"}


def test_response_names_at_most_a_hundred_errors(api):
    response = api.post("/memories/bulk", {"memories": [{"content": "x", "vector": ["1"] * 768}] * 200})
    assert is_problem(response, 422)
    assert len(response.json()["errors"]) == 100


@pytest.mark.django_db(transaction=True)
def test_database_error_rolls_back_the_bulk(api):
    many = [[f"{turn} {number}" for number in range(64)] for turn in range(5)]
    told_again = [{"content": "much tagged", "tags": tags} for tags in many]
    assert is_problem(api.post("/memories/bulk", {"memories": [{"content": "tea"}, *told_again]}), 422)
    assert Memory.objects.count() == 0


def test_thousand_memories_take_as_many_statements_as_one(api, takes):
    with takes(3):  # SAVEPOINT, INSERT, RELEASE
        add_bulk(api, "tea")
    with takes(3):
        answer = add_bulk(api, *(f"number {number}" for number in range(1000)))
    assert answer["created"] == len(set(answer["ids"])) == 1000


def test_equal_repeats_cost_no_statement(api, takes):
    with takes(3):
        add_bulk(api, *(f"number {number % 300}" for number in range(900)))
    assert Memory.objects.count() == 300


def test_different_repeats_cost_one_statement_each(api, takes):
    with takes(5):
        add_bulk(api, *({"content": "again", "tags": [tag]} for tag in ("one", "two", "three")))
    assert sorted(Memory.objects.get().tags) == ["one", "three", "two"]


def test_vectors_cost_one_more_statement(api, takes):
    with takes(4):
        add_bulk(api, *({"content": f"number {number}", "vector": UNIT_VECTOR} for number in range(100)))
    assert Embedding.objects.count() == 100
    assert tasks.embed_due() == 0


@pytest.mark.parametrize("count", [0, 1001])
def test_1_to_1000_are_accepted(api, count):
    response = api.post("/memories/bulk", {"memories": [{"content": f"number {number}"} for number in range(count)]})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"memories"}
    assert Memory.objects.count() == 0


def test_expired_duplicates_are_replaced(api):
    old = add_bulk(api, "tea", "coffee")["ids"]
    Memory.objects.filter(content="tea").update(expires_at=timezone.now())
    answer = add_bulk(api, "coffee", "tea")
    assert (answer["created"], answer["existing"]) == (1, 1)
    assert answer["ids"][0] == old[1]
    assert answer["ids"][1] != old[0]
    assert Memory.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_bulks_in_opposite_order_both_succeed(api):
    items = [{"content": f"number {number}"} for number in range(500)]
    orders = [items, items[::-1]] * 3
    answers = run_at_once([partial(api.post, "/memories/bulk", {"memories": order}) for order in orders])
    assert [answer.status_code for answer in answers] == [201] * 6
    assert sum(answer.json()["created"] for answer in answers) == 500
    assert len({tuple(sorted(answer.json()["ids"])) for answer in answers}) == 1
    assert Memory.objects.count() == 500


@pytest.mark.django_db(transaction=True)
def test_concurrent_bulks_that_replace_expired_duplicates_both_succeed(api):
    items = [{"content": f"number {number}"} for number in range(200)]
    api.post("/memories/bulk", {"memories": items})
    Memory.objects.update(expires_at=timezone.now())
    answers = run_at_once([partial(api.post, "/memories/bulk", {"memories": order}) for order in (items, items[::-1])])
    assert [answer.status_code for answer in answers] == [201, 201]
    assert Memory.objects.alive().count() == Memory.objects.count() == 200


def test_too_many_versions_of_one_content_are_refused(api):
    memories = [{"content": "again", "metadata": {"turn": turn}} for turn in range(30)]
    response = api.post("/memories/bulk", {"memories": memories})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"memories"}
    assert not Memory.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_concurrent_bulks_worker_and_deletes_all_succeed(api, monkeypatch):
    """They lock the same rows in different orders; PostgreSQL aborts one of two, and it is retried."""
    monkeypatch.setattr(retry, "MAX_ATTEMPTS", 8)  # chance may choose the same one several times
    body = {"memories": [{"content": f"number {number}"} for number in range(150)]}
    work = [partial(api.post, "/memories/bulk", body) for _ in range(6)]
    work += [partial(api.post, "/memories/delete", {"filters": {"source_system": "api"}}) for _ in range(3)]
    answers = run_at_once([*work, tasks.embed_due, tasks.embed_due])
    assert {answer.status_code for answer in answers if hasattr(answer, "status_code")} <= {200, 201}


# Waiting


def test_wait_answers_when_all_are_found_by_their_meaning(api):
    memories = [{"content": f"Harbour {number} opens at nine."} for number in range(30)]
    response = api.post("/memories/bulk?wait=true", {"memories": memories})
    assert response.status_code == 201
    assert response.json()["embedded"] is True
    assert len(api.search("harbours opening", mode="vector", limit=50)["results"]) == 30


def test_answer_without_wait_says_nothing_about_it(api):
    assert "embedded" not in add_bulk(api, "tea")


def test_repeated_bulk_that_waits_says_that_all_are_embedded(api):
    key = {"Idempotency-Key": "once"}
    first, second = (api.post("/memories/bulk?wait=true", {"memories": [{"content": "tea"}]}, **key) for _ in range(2))
    assert first.json() == second.json()


@pytest.mark.parametrize("kind", ["Away", "Refusing"])
def test_waiting_for_a_bulk_ends_when_nothing_more_can_be_embedded(api, embedder, monkeypatch, kind):
    monkeypatch.setattr("memories.api.memories.WAIT_SECONDS", 150)
    embedder(kind)
    started = time.monotonic()
    response = api.post("/memories/bulk?wait=true", {"memories": [{"content": "poison"}, {"content": "tea"}]})
    assert time.monotonic() - started < 150
    assert response.json()["embedded"] is False
    assert response.json()["created"] == 2


# Only what is not there


def add_new(api, *memories: dict, condition: str = "*", **headers: str):
    return api.post("/memories/bulk", {"memories": list(memories)}, **{"If-None-Match": condition} | headers)


INSIGHT = "★ Insight ─────\nThe harbour opens at nine, and the lock keeper knows it.\n─────"


@pytest.mark.parametrize(
    "known",
    [
        {"content": "tea", "key": "cup"},
        {"content": "tea"},
        {"content": "Acme", "entity": {"system": "crm", "id": "7"}},
        {"content": "The harbour opens at nine, and closes at five.", "memory_type": "insight"},
    ],
    ids=["key", "content", "entity", "insight"],
)
def test_bulk_of_new_memories_is_refused_as_a_whole(api, known):
    before = api.post("/memories", known).json()
    refused = add_new(api, {"content": "milk"}, known | {"tags": ["again"]}, {"content": INSIGHT})
    assert is_problem(refused, 412)
    assert Memory.objects.count() == 1
    assert api.get(f"/memories/{before['id']}").json()["revision"] == before["revision"]


def test_bulk_of_new_memories_is_stored(api):
    answer = add_new(api, {"content": "milk", "key": "a"}, {"content": "milk", "key": "b"}, {"content": "milk"})
    assert answer.status_code == 201
    assert answer.json()["created"] == len(set(answer.json()["ids"])) == 3


def test_lost_answer_of_a_bulk_is_told_apart_from_a_second_request(api):
    key = {"Idempotency-Key": "once"}
    answers = [add_new(api, {"content": "milk", "key": "a"}, **key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert is_problem(add_new(api, {"content": "milk", "key": "a"}), 412)


@pytest.mark.django_db(transaction=True)
def test_of_two_bulks_at_once_one_is_stored(api):
    memories = [{"content": "milk", "key": f"cup {number}"} for number in range(50)]
    answers = run_at_once([partial(add_new, api, *memories)] * 2)
    assert sorted(each.status_code for each in answers) == [201, 412]
    assert Memory.objects.count() == 50


def test_bulk_takes_no_entity_tags(api):
    assert is_problem(answer := add_new(api, {"content": "milk"}, condition='"17"'), 400)
    assert list_blamed_fields(answer) == {"If-None-Match"}
