"""A memory is set back to what stood there before; what was deleted comes back with all that hung on it."""

import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from memories import tasks
from memories.api.versions import read_memory_response
from memories.graph.models import Relationship, UserTotal
from memories.history import retention
from memories.history.models import DeletedPart, MemoryVersion
from memories.history.restore import CHANGED_SINCE, GONE_SINCE, HAS_EXPIRED, take_back
from memories.models import DueEmbedding, Embedding, Memory
from memories.users.erasure import count_user_rows, erase, find_user_ids
from memory_site.core.db.actor import acting_in_job
from memory_site.core.db.cluster import fetch
from memory_site.core.errors import NotFound
from tests.memories.history.deleted import describe_parts, make_memory_with_parts, relate
from tests.wire import is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


@pytest.fixture
def tea(api) -> dict:
    return api.add("Ada likes green tea.", user_id="ada", tags=["taste"], metadata={"a": 1.5}, data={"b": [1]})


def get(api, memory: dict) -> dict:
    response = api.get(f"/memories/{memory['id']}")
    assert response.status_code == 200, response.content
    return response.json()


def history_of(api, memory: dict, **query: object) -> list[dict]:
    response = api.get(f"/memories/{memory['id']}/history?" + "&".join(f"{k}={v}" for k, v in query.items()))
    assert response.status_code == 200, response.content
    return response.json()["results"]


def delete(api, *memories: dict) -> None:
    for memory in memories:
        assert api.delete(f"/memories/{memory['id']}").status_code == 204


def restore(api, memory: dict, version: str | None = None) -> dict:
    response = api.post(f"/memories/{memory['id']}/restore", {"version": version} if version else {})
    assert response.status_code == 200, response.content
    return response.json()


def restore_trash(api, **body: object) -> dict:
    response = api.post("/trash/restore", body)
    assert response.status_code == 200, response.content
    return response.json()


def list_trashed(api, query: str = "") -> list[str]:
    response = api.get(f"/trash{query}")
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def without_times(memory: dict) -> dict:
    return {
        name: value for name, value in memory.items() if name not in ("updated_at", "revision", "embedded", "created")
    }


# History and versions


def test_the_history_says_what_changed_by_whom_and_in_which_request(api, tea):
    response = api.patch(f"/memories/{tea['id']}", {"content": "Ada likes black tea.", "tags": []})
    [version] = history_of(api, tea)
    assert version["changes"] == [
        {"field": "content", "before": "Ada likes green tea.", "after": "Ada likes black tea."},
        {"field": "tags", "before": ["taste"], "after": []},
    ]
    assert version["changed_by"].startswith("key:mem_")
    assert version["request_id"] == response["X-Request-ID"]
    assert version["memory"]["metadata"] == {"a": 1.5}


def test_the_history_comes_in_pages_in_both_directions(api, tea):
    for importance in (4, 5, 1, 2):
        api.patch(f"/memories/{tea['id']}", {"importance": importance})
    first = api.get(f"/memories/{tea['id']}/history?limit=2").json()
    second = api.get(f"/memories/{tea['id']}/history?limit=2&cursor={first['next']}").json()
    steps = [each["changes"][0] for page in (first, second) for each in page["results"]]
    assert [(step["before"], step["after"]) for step in steps] == [(1, 2), (5, 1), (4, 5), (3, 4)]
    assert (
        api.get(f"/memories/{tea['id']}/history?limit=2&cursor={second['previous']}").json()["results"]
        == (first["results"])
    )


def test_a_version_is_restored_and_that_is_a_change_too(api, tea):
    tasks.embed_due()
    for content in ("Ada likes black tea.", "Ada likes no tea."):
        api.patch(f"/memories/{tea['id']}", {"content": content, "importance": 5})
    oldest = history_of(api, tea)[-1]
    restored = restore(api, tea, oldest["version"])
    assert without_times(restored) == without_times(tea)
    assert restored["updated_at"] > tea["updated_at"]
    assert restored["embedded"] is False
    assert history_of(api, tea)[0]["changes"][0] == {
        "field": "content", "before": "Ada likes no tea.", "after": "Ada likes green tea."
    }  # fmt: skip


def test_without_a_version_the_last_change_is_taken_back(api, tea):
    api.patch(f"/memories/{tea['id']}", {"importance": 5})
    assert restore(api, tea)["importance"] == 3
    assert restore(api, tea)["importance"] == 5


def test_a_version_that_would_have_expired_is_not_restored(api, tea):
    Memory.objects.update(expires_at=timezone.now() + timedelta(seconds=0.1))
    Memory.objects.update(expires_at=None)
    time.sleep(0.1)
    answer = api.post(f"/memories/{tea['id']}/restore", {})
    assert (answer.status_code, answer.json()["detail"]) == (409, HAS_EXPIRED)
    assert get(api, tea)["expires_at"] is None


def test_a_memory_that_is_deleted_before_the_answer_is_not_found(namespace):
    with pytest.raises(NotFound):
        read_memory_response(namespace.pk, uuid4())


def test_what_cannot_be_restored_is_said(api, outsider, tea):
    other = api.add("another")
    api.patch(f"/memories/{tea['id']}", {"content": "changed"})
    [version] = history_of(api, tea)
    assert is_problem(api.post(f"/memories/{other['id']}/restore", {}), 404)
    assert is_problem(api.post(f"/memories/{uuid4()}/restore", {}), 404)
    assert is_problem(api.post(f"/memories/{other['id']}/restore", {"version": version["version"]}), 404)
    for call in (outsider.get(f"/memories/{tea['id']}/history"), outsider.post(f"/memories/{tea['id']}/restore", {})):
        assert is_problem(call, 404)
    api.add("Ada likes green tea.", user_id="ada")
    assert is_problem(api.post(f"/memories/{tea['id']}/restore", {}), 409)


# The trash


def test_a_deleted_memory_comes_back_with_all_that_hung_on_it(api):
    memory = make_memory_with_parts(api)
    tasks.embed_due()
    before = get(api, memory), describe_parts(memory["id"])
    delete(api, memory)
    assert is_problem(api.get(f"/memories/{memory['id']}"), 404)
    assert all(rows == [] for rows in describe_parts(memory["id"]).values())
    restored = restore(api, memory)
    assert (without_times(restored), describe_parts(memory["id"])) == (without_times(before[0]), before[1])
    assert DueEmbedding.objects.filter(memory=memory["id"]).exists()
    tasks.embed_due()
    assert get(api, memory)["embedded"] is True
    assert DeletedPart.objects.count() == 0


def test_a_relationship_comes_back_with_its_second_end(api, tea):
    other = api.add("Ben likes coffee.", user_id="ada")
    relate(api, tea, {"to_id": other["id"]}, 201)
    [before] = Relationship.objects.values()
    delete(api, tea, other)
    restore(api, tea)
    assert Relationship.objects.count() == 0
    restore(api, other)
    [after] = Relationship.objects.values()
    assert after == before


def test_the_trash_lists_what_was_deleted_last_first_and_filters_it(api, outsider, tea):
    other = api.add("Ben likes coffee.", user_id="ben", tags=["taste", "hot"], importance=5)
    outsider_memory = outsider.add("theirs")
    delete(outsider, outsider_memory)
    delete(api, tea, other)
    assert list_trashed(api) == [other["id"], tea["id"]]
    assert list_trashed(api, "?user_id=ben&tags=hot&min_importance=4") == [other["id"]]
    assert list_trashed(api, '?metadata={"a": 1.5}') == [tea["id"]]
    assert list_trashed(api, f"?ids={tea['id']}") == [tea["id"]]
    [row] = api.get("/trash?user_id=ada").json()["results"]
    assert row["memory"]["content"] == tea["content"]
    assert row["deleted_by"].startswith("key:mem_")


def test_restoring_by_filter_counts_first_and_twice_is_harmless(api, tea):
    others = [api.add(f"number {number}", user_id="ben") for number in range(3)]
    delete(api, tea, *others)
    assert restore_trash(api, filters={"user_id": "ben"}, dry_run=True) == {
        "matched": 3, "restored": 0, "existing": 0, "left": [], "remaining": 0
    }  # fmt: skip
    assert list_trashed(api, "?user_id=ben") != []
    assert restore_trash(api, filters={"user_id": "ben"})["restored"] == 3
    assert restore_trash(api, filters={"user_id": "ben"})["matched"] == 0
    again = restore_trash(api, ids=[memory["id"] for memory in others])
    assert (again["restored"], again["existing"], again["left"]) == (0, 3, [])
    assert list_trashed(api) == [tea["id"]]


def test_what_is_there_again_stays_and_the_deleted_one_is_left(api, tea):
    entity = {"system": "jira", "id": "A-1"}
    ticket, kept = api.add("ticket", entity=entity), api.add("other")
    delete(api, tea, ticket, kept)
    twin = api.add(tea["content"], user_id="ada")
    api.add("ticket again", entity=entity)
    answer = restore_trash(api, ids=[tea["id"], ticket["id"], kept["id"], str(uuid4())])
    assert answer["restored"] == 1
    reasons = {row["id"]: row["reason"] for row in answer["left"]}
    assert reasons[tea["id"]] == "Another memory has the same content, type and user."
    assert reasons[ticket["id"]] == "Another memory describes the same entity of this user."
    assert len(reasons) == 3
    assert get(api, twin)["content"] == tea["content"]
    assert is_problem(api.post(f"/memories/{tea['id']}/restore", {}), 409)


def test_wrong_requests_are_refused(api):
    for body in ({}, {"ids": []}, {"filters": {}}, {"filters": {"metadata": {}}}):
        response = api.post("/trash/restore", body)
        assert is_problem(response, 422)
        assert list_blamed_fields(response) <= {"ids", "filters"}


def test_the_trash_ends_after_its_days_and_the_history_later(api, namespace, tea, settings):
    api.patch(f"/memories/{tea['id']}", {"importance": 5})
    delete(api, tea)
    MemoryVersion.objects.update(changed_at=timezone.now() - timedelta(days=8))
    assert list_trashed(api) == []
    assert is_problem(api.post(f"/memories/{tea['id']}/restore", {}), 404)
    assert retention.delete_old_history(namespace.pk) == 0
    settings.HISTORY_RETENTION_DAYS = 8
    assert retention.delete_old_history(namespace.pk) == 2


def test_what_would_have_expired_leaves_the_trash_with_its_history(api, namespace, tea):
    api.patch(f"/memories/{tea['id']}", {"importance": 5, "expires_at": "2190-01-01T00:00:00Z"})
    delete(api, tea)
    MemoryVersion.objects.filter(operation="delete").update(expires_at=timezone.now())
    assert list_trashed(api) == []
    assert is_problem(api.get(f"/memories/{tea['id']}/history"), 404)
    assert retention.delete_old_history(namespace.pk) == 2
    assert MemoryVersion.objects.count() == 0


# Erasure


def test_erasing_a_user_leaves_no_version_and_no_trash_and_counts_them(api):
    memory = make_memory_with_parts(api, user="ada")
    deleted = api.add("Ada was here.", user_id="ada")
    moved = api.add("Ada left this to Ben.", user_id="ada")
    mine = api.add("Ben's own.", user_id="ben")
    for each, change in ((deleted, {"importance": 5}), (moved, {"user_id": "ben"}), (mine, {"importance": 5})):
        api.patch(f"/memories/{each['id']}", change)
    api.patch(f"/memories/{moved['id']}", {"content": "Ben changed it."})
    delete(api, deleted, memory)
    counted = count_user_rows(1, "ada")
    assert (counted["versions"], counted["trash"]) == (2, 2)
    erased = api.delete("/users/ada").json()["erased"]
    assert {name: erased[name] for name in ("versions", "trash", "parts_of_deleted_memories")} == {
        "versions": 2, "trash": 2, "parts_of_deleted_memories": 7
    }  # fmt: skip
    assert list_trashed(api) == []
    left = {(str(row.memory_id), row.user_id) for row in MemoryVersion.objects.all()}
    assert left == {(moved["id"], "ben"), (mine["id"], "ben")}
    assert '"ada"' not in str(fetch("SELECT array_agg(version::text) FROM history_memoryversion version"))


def test_a_user_of_whom_only_the_trash_is_left_is_found_for_another_erasure(api, tea):
    """A backup that is older than an erasure has the trash too; the ledger of erasures asks for all users."""
    delete(api, tea)
    UserTotal.objects.all().delete()
    assert "ada" in find_user_ids(1)
    erase(1, "ada", "the ledger")
    assert MemoryVersion.objects.count() == 0


# What a job did


@pytest.fixture
def job(api) -> tuple[UUID, list[dict]]:
    """A job that deleted two memories and changed two."""
    memories = [api.add(f"number {number}", tags=["old"]) for number in range(4)]
    job_id, ids = uuid4(), [memory["id"] for memory in memories]
    with acting_in_job(job_id, "console:ada"):
        Memory.objects.filter(pk__in=ids[:2]).delete()
        Memory.objects.filter(pk__in=ids[2:]).update(tags=["new"])
    return job_id, memories


def get_ids(memories: list[dict]) -> list[UUID]:
    return [UUID(memory["id"]) for memory in memories]


def test_what_a_job_did_is_taken_back(api, job):
    job_id, memories = job
    with acting_in_job(uuid4(), "console:ada"):
        restored = take_back(1, job_id, get_ids(memories))
    assert restored.left == {}
    assert sorted(restored.ids) == sorted(get_ids(memories))
    assert [without_times(get(api, memory)) for memory in memories] == [without_times(each) for each in memories]
    assert list_trashed(api) == []


def test_what_was_changed_since_a_job_is_left(api, job):
    job_id, (first, second, third, fourth) = job
    restore(api, first)
    api.patch(f"/memories/{first['id']}", {"importance": 5})
    api.patch(f"/memories/{third['id']}", {"importance": 5})
    delete(api, fourth)
    restored = take_back(1, job_id, get_ids(job[1]))
    assert restored.ids == [UUID(second["id"])]
    assert restored.left == {
        UUID(first["id"]): CHANGED_SINCE, UUID(third["id"]): CHANGED_SINCE, UUID(fourth["id"]): GONE_SINCE
    }  # fmt: skip
    assert get(api, third)["tags"] == ["new"]


def test_one_that_conflicts_does_not_stop_the_others(api, namespace):
    memories = [api.add(f"number {number}", user_id="ada") for number in range(3)]
    job_id = uuid4()
    with acting_in_job(job_id, "console:ada"):
        Memory.objects.filter(user_id="ada").update(user_id="ben")
    api.add("number 1", user_id="ada")
    restored = take_back(1, job_id, get_ids(memories))
    assert {str(pk) for pk in restored.ids} == {memories[0]["id"], memories[2]["id"]}
    assert [str(pk) for pk in restored.left] == [memories[1]["id"]]


def test_vectors_follow(api, job):
    tasks.embed_due()
    take_back(1, job[0], get_ids(job[1]))
    tasks.embed_due()
    assert Embedding.objects.count() == 4
