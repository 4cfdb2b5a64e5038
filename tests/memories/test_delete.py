"""Deleting memories, by id and by filter."""

from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from memories import tasks
from memories.models import Embedding, Memory
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields

pytestmark = pytest.mark.django_db


def delete_memories(api, dry_run: bool = False, **filters: object) -> dict:
    response = api.post("/memories/delete", {"filters": filters, "dry_run": dry_run})
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def three(api) -> list[str]:
    """Ids of two memories of Ada and one of Ben, all embedded."""
    ids = [
        api.add("Ada likes tea.", user_id="ada", tags=["taste"])["id"],
        api.add("Ada likes the harbour.", user_id="ada", memory_type="rag")["id"],
        api.add("Ben likes tea.", user_id="ben", tags=["taste"])["id"],
    ]
    tasks.embed_due()
    return ids


def load_ids() -> set[str]:
    memories = {str(pk) for pk in Memory.objects.values_list("pk", flat=True)}
    assert {str(pk) for pk in Embedding.objects.values_list("memory_id", flat=True)} == memories
    return memories


def test_delete_removes_memory_and_vector(api, three):
    response = api.delete(f"/memories/{three[0]}")
    assert (response.status_code, response.content) == (204, b"")
    assert load_ids() == set(three[1:])
    assert is_problem(api.get(f"/memories/{three[0]}"), 404)
    for mode in ("hybrid", "vector", "text"):
        found = {hit["memory"]["id"] for hit in api.search("Ada likes tea", mode=mode)["results"]}
        assert three[0] not in found
    assert is_problem(api.delete(f"/memories/{three[0]}"), 404)


def test_delete_takes_two_statements_after_authentication(api, three, takes):
    """The first says who acts, for the memory's history."""
    with takes(2):
        api.delete(f"/memories/{three[0]}")
    with takes(2):
        delete_memories(api, user_id="ada")
    with takes(1):
        delete_memories(api, dry_run=True, user_id="ben")


def test_database_deletes_the_vector_with_the_memory(three):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM memories_memory WHERE user_id = 'ada'")
    assert load_ids() == {three[2]}


def test_deleting_a_namespace_deletes_its_memories(api, outsider, namespace, three):
    theirs = outsider.add("theirs")
    tasks.embed_due()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions_app_apikey WHERE namespace_id = %s", [namespace.pk])
        cursor.execute("DELETE FROM sessions_app_namespace WHERE id = %s", [namespace.pk])
    assert load_ids() == {theirs["id"]}


def test_missing_memory_is_404(api):
    assert is_problem(api.delete(f"/memories/{uuid4()}"), 404)


def test_memory_of_another_namespace_is_404(api, outsider, three):
    before = fingerprint_tables()
    assert is_problem(outsider.delete(f"/memories/{three[0]}"), 404)
    assert fingerprint_tables() == before


def test_expired_memory_is_404(api, three):
    Memory.objects.filter(pk=three[0]).update(expires_at=timezone.now())
    assert is_problem(api.delete(f"/memories/{three[0]}"), 404)


# By filter


def test_delete_by_filter_removes_only_matches(api, three):
    assert delete_memories(api, user_id="ada") == {"matched": 2, "deleted": 2}
    assert load_ids() == {three[2]}


def test_all_filters_must_hold(api, three):
    assert delete_memories(api, user_id="ada", tags=["taste"]) == {"matched": 1, "deleted": 1}
    assert load_ids() == {*three[1:]}


def test_dry_run_counts_and_deletes_nothing(api, three):
    before = fingerprint_tables()
    assert delete_memories(api, dry_run=True, user_id="ada") == {"matched": 2, "deleted": 0}
    assert fingerprint_tables() == before
    assert delete_memories(api, user_id="ada")["deleted"] == 2


def test_filter_without_matches_deletes_nothing(api, three):
    assert delete_memories(api, user_id="nobody") == {"matched": 0, "deleted": 0}
    assert load_ids() == set(three)


@pytest.mark.parametrize(
    "filters",
    [{}, {"user_id": None}, {"metadata": {}}, {"ids": None, "metadata": {}}, {"any_metadata": [{"a": 1}, {}]}],
    ids=str,
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_delete_without_a_condition_is_refused(api, three, filters, dry_run):
    response = api.post("/memories/delete", {"filters": filters, "dry_run": dry_run})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"filters"}
    assert load_ids() == set(three)


@pytest.mark.parametrize("body", [{}, {"dry_run": False}, {"filters": None}, [], None, {"filters": []}], ids=str)
def test_delete_without_filters_is_refused(api, three, body):
    assert is_problem(api.post("/memories/delete", body), 400, 415, 422)
    assert load_ids() == set(three)


@pytest.mark.parametrize(
    "filters",
    [{"ids": []}, {"tags": []}, {"any_tags": []}, {"any_metadata": []}, {"without_metadata": []}, {"memory_types": []}],
    ids=str,
)
def test_empty_list_is_refused_as_a_filter(api, three, filters):
    assert is_problem(api.post("/memories/delete", {"filters": filters}), 422)
    assert load_ids() == set(three)


def test_deletes_what_contains_one_object_and_none_of_others(api):
    for kind in ("note", "draft", "letter"):
        api.add(kind, metadata={"kind": kind, "pages": [1, 2]})
    assert (
        delete_memories(api, any_metadata=[{"kind": "note"}, {"pages": [2]}], without_metadata=[{"kind": "letter"}])[
            "deleted"
        ]
        == 2
    )
    assert [memory.content for memory in Memory.objects.all()] == ["letter"]


def test_expired_memories_are_not_counted(api, three):
    Memory.objects.filter(pk=three[0]).update(expires_at=timezone.now())
    assert delete_memories(api, user_id="ada") == {"matched": 1, "deleted": 1}


def test_filter_reaches_no_other_namespace(api, outsider, three):
    outsider.add("theirs", user_id="ada")
    assert delete_memories(outsider, user_id="ada") == {"matched": 1, "deleted": 1}
    assert delete_memories(outsider, ids=three) == {"matched": 0, "deleted": 0}
    assert load_ids() == set(three)
