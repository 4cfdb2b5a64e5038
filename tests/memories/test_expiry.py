"""Expired memories: invisible at once, deleted later."""

import time

import pytest
from django.core.management import call_command
from django.utils import timezone

from memories import expiry, tasks
from memories.models import Embedding, Memory
from memory_site.core.http.pagination import AFTER, encode_cursor
from tests.wire import is_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def expired(api) -> dict:
    """An embedded memory that has expired, beside one that has not."""
    memory = api.add("The harbour closes at six.", user_id="ada", tags=["a"], metadata={"important": True})
    api.add("The market closes at five.", user_id="ada")
    tasks.embed_due()
    Memory.objects.filter(pk=memory["id"]).update(expires_at=timezone.now())
    return memory


def test_expired_memory_cannot_be_read(api, expired):
    assert is_problem(api.get(f"/memories/{expired['id']}"), 404)


def test_expired_memory_cannot_be_changed(api, expired):
    assert is_problem(api.patch(f"/memories/{expired['id']}", {"importance": 5}), 404)


def test_expired_memory_cannot_be_deleted(api, expired):
    assert is_problem(api.delete(f"/memories/{expired['id']}"), 404)
    answer = api.post("/memories/delete", {"filters": {"user_id": "ada"}, "dry_run": True}).json()
    assert answer["matched"] == 1


@pytest.mark.parametrize("query", ["", "?tags=a", "?important=true", "?user_id=ada", "?ids={id}"])
def test_expired_memory_is_not_listed(api, expired, query):
    listed = api.get(f"/memories{query.format(**expired)}").json()["results"]
    assert expired["id"] not in [memory["id"] for memory in listed]


def test_cursor_of_an_expired_memory_still_works(api, expired):
    cursor = encode_cursor(AFTER, Memory.objects.filter(pk=expired["id"]).values("created_at", "id").get())
    assert api.get(f"/memories?cursor={cursor}").json()["results"] == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize("filters", [None, {"user_id": "ada"}, {"tags": ["a"]}])
def test_expired_memory_is_not_found(api, expired, mode, filters):
    hits = api.search("harbour closes at six", mode=mode, filters=filters)["results"]
    assert expired["id"] not in [hit["memory"]["id"] for hit in hits]


def test_expired_memory_is_not_counted(api, expired):
    summary = api.get("/summary").json()
    assert (summary["total_memories"], summary["by_user"]) == (1, {"ada": 1})


def test_ttl_of_two_seconds_expires_after_two_seconds(api):
    memory = api.add("soon gone", ttl_seconds=2)
    assert api.get(f"/memories/{memory['id']}").status_code == 200
    assert len(api.search("gone", mode="text")["results"]) == 1
    time.sleep(2.05)
    assert is_problem(api.get(f"/memories/{memory['id']}"), 404)
    assert api.search("gone", mode="text")["results"] == []


def test_clean_up_deletes_expired_memories_and_vectors(api, expired):
    assert tasks.delete_expired() == 1
    assert [memory.content for memory in Memory.objects.all()] == ["The market closes at five."]
    assert Embedding.objects.count() == 1
    assert tasks.delete_expired() == 0


def test_clean_up_deletes_in_batches(api, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(expiry, "DELETE_BATCH_SIZE", 4)
    api.post("/memories/bulk", {"memories": [{"content": f"number {number}"} for number in range(10)]})
    Memory.objects.update(expires_at=timezone.now())
    # Where there are any; four batches (4, 4, 2, none): savepoint, bound of waiting, delete, release.
    with django_assert_num_queries(1 + 4 * 4):
        assert tasks.delete_expired() == 10


def test_clean_up_covers_every_namespace(api, outsider):
    for caller in (api, outsider):
        caller.add("tea")
    Memory.objects.update(expires_at=timezone.now())
    assert tasks.delete_expired() == 2


@pytest.mark.django_db(transaction=True)
def test_expired_memory_does_not_block_its_entity(api):
    entity = {"system": "jira", "id": "OPS-1"}
    old = api.add("The first account of the ticket.", entity=entity)
    Memory.objects.filter(pk=old["id"]).update(expires_at=timezone.now())
    new = api.add("The second account of the ticket.", entity=entity)
    assert new["created"] is True
    assert new["entity"]["id"] == "OPS-1"


@pytest.mark.django_db(transaction=True)
def test_expired_memory_does_not_block_an_update(api):
    old, other = api.add("The ferry runs hourly."), api.add("The ferry runs daily.")
    Memory.objects.filter(pk=old["id"]).update(expires_at=timezone.now())
    response = api.patch(f"/memories/{other['id']}", {"content": "The ferry runs hourly."})
    assert response.status_code == 200, response.content
    assert response.json()["content"] == "The ferry runs hourly."


@pytest.mark.parametrize(
    ("words", "said", "left"),
    [
        ((), "2 memories were deleted.", 0),
        (("--dry-run",), "2 memories would be deleted.", 2),
        (("--namespace", "ours"), "1 memories were deleted.", 1),
    ],
)
def test_command_deletes_what_has_expired(api, outsider, capsys, words, said, left):
    for caller in (api, outsider):
        caller.add("tea", ttl_seconds=60)
        caller.add("coffee")
    Memory.objects.filter(content="tea").update(expires_at=timezone.now())
    call_command("delete_expired", *words)
    assert capsys.readouterr().out.strip() == said
    assert Memory.objects.filter(content="tea").count() == left
    assert Memory.objects.filter(content="coffee").count() == 2
