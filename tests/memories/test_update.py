"""Changing a memory, and what that means for its vector."""

import json
from datetime import datetime
from functools import partial
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from memories import tasks
from memories.models import Embedding, Memory
from tests.wire import fingerprint_tables, is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def tea(api) -> dict:
    memory = api.add("Ada likes green tea.", user_id="ada", agent_id="writer", tags=["taste"], metadata={"a": 1})
    tasks.embed_due()
    return memory


def update_memory(api, memory: dict, **fields: object) -> dict:
    response = api.patch(f"/memories/{memory['id']}", fields)
    assert response.status_code == 200, response.content
    return response.json()


FIELD_CHANGES = {
    "content": "Ada likes black tea.",
    "summary": "Black tea",
    "data": {"x": [1]},
    "metadata": {"b": 2},
    "memory_type": "rag",
    "source_system": "agno",
    "user_id": "ben",
    "agent_id": "reader",
    "workflow_id": "w",
    "repo_id": "r",
    "session_id": "s",
    "importance": 5,
    "confidence": 0.5,
    "tags": ["x", "y"],
    "entity": {"system": "jira", "id": "A-1", "type": "ticket", "name": "One"},
    "expires_at": "2190-01-01T00:00:00Z",
}


@pytest.mark.parametrize("field", FIELD_CHANGES)
def test_only_the_given_field_changes(api, tea, field):
    changed = update_memory(api, tea, **{field: FIELD_CHANGES[field]})
    before = api.get(f"/memories/{tea['id']}").json()
    assert changed == before
    unchanged = {name: value for name, value in tea.items() if name in changed and name != field}
    apart = {"updated_at", "revision", "embedded"}
    assert {name: changed[name] for name in unchanged if name not in apart} == {
        name: value for name, value in unchanged.items() if name not in apart
    }
    assert changed[field] == FIELD_CHANGES[field]
    assert datetime.fromisoformat(changed["updated_at"]) > datetime.fromisoformat(tea["updated_at"])


def test_all_fields_can_change_at_once(api, tea):
    changed = update_memory(api, tea, **FIELD_CHANGES)
    assert {name: changed[name] for name in FIELD_CHANGES} == FIELD_CHANGES
    assert changed["id"] == tea["id"]


@pytest.mark.parametrize("field", [field for field in FIELD_CHANGES if field != "content"])
def test_other_fields_do_not_queue_the_memory(api, tea, field):
    assert update_memory(api, tea, **{field: FIELD_CHANGES[field]})["embedded"] is True
    assert tasks.embed_due() == 0


def test_unchanged_content_does_not_queue_the_memory(api, tea):
    assert update_memory(api, tea, content=tea["content"])["embedded"] is True


def test_new_content_is_queued_and_the_old_vector_used_until_then(api, tea):
    old = Embedding.objects.get().vector
    assert update_memory(api, tea, content="The harbour opens at nine.")["embedded"] is False
    [hit] = api.search("Ada likes green tea", mode="vector")["results"]
    assert hit["memory"]["content"] == "The harbour opens at nine."
    assert hit["similarity"] > 0.9
    assert tasks.embed_due() == 1
    assert api.get(f"/memories/{tea['id']}").json()["embedded"] is True
    [hit] = api.search("Ada likes green tea", mode="vector")["results"]
    assert hit["similarity"] < 0.5
    assert api.search("The harbour opens at nine.", mode="vector")["results"][0]["similarity"] > 0.99
    assert Embedding.objects.get().vector != old


def test_words_follow_the_content_at_once(api, tea):
    update_memory(api, tea, content="The harbour opens at nine.", summary="Boats", data={"k": "lighthouse"})
    for word in ("harbour", "boats", "lighthouse"):
        assert len(api.search(word, mode="text")["results"]) == 1
    assert api.search("green", mode="text")["results"] == []


def test_outdated_vector_does_not_replace_a_newer_one(api, tea):
    old_hash = bytes(Memory.objects.get().content_hash)
    update_memory(api, tea, content="The harbour opens at nine.")
    tasks.embed_due()
    row = Memory.objects.get()
    assert Embedding.objects.write(row.namespace_id, "hashing-1", [(row.pk, old_hash, [1.0] + [0.0] * 767)]) == 0
    assert api.search("The harbour opens at nine.", mode="vector")["results"][0]["similarity"] > 0.99


# What null means


@pytest.mark.parametrize(
    "field",
    ["summary", "data", "user_id", "agent_id", "workflow_id", "repo_id", "session_id", "entity", "expires_at"],
)
def test_null_clears_an_optional_field(api, field):
    memory = api.add("tea", **{field: FIELD_CHANGES[field]})
    assert memory[field] is not None
    assert update_memory(api, memory, **{field: None})[field] is None


@pytest.mark.parametrize(
    "field", ["content", "metadata", "memory_type", "source_system", "importance", "confidence", "tags"]
)
def test_null_is_refused_for_a_required_field(api, tea, field):
    response = api.patch(f"/memories/{tea['id']}", {field: None})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}


@pytest.mark.parametrize("field", ["id", "created_at", "updated_at", "embedded", "vector", "ttl_seconds", "namespace"])
def test_read_only_field_is_refused(api, tea, field):
    before = fingerprint_tables()
    response = api.patch(f"/memories/{tea['id']}", {field: tea.get(field)})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert fingerprint_tables() == before


def test_duplicate_tags_are_stored_once(api, tea):
    assert update_memory(api, tea, tags=["b", "a", "b"])["tags"] == ["b", "a"]


def test_empty_update_changes_nothing(api, tea):
    changed = update_memory(api, tea)
    assert {name: changed[name] for name in changed if name not in ("updated_at", "revision", "embedded")} == {
        name: tea[name] for name in changed if name not in ("updated_at", "revision", "embedded")
    }


# What cannot be


@pytest.mark.parametrize(
    "changes", [{"content": "Ada likes coffee."}, {"user_id": "ben"}, {"memory_type": "rag"}], ids=str
)
def test_update_to_an_existing_content_is_a_conflict(api, tea, changes):
    api.add(**{"content": tea["content"], "user_id": "ada"} | changes)
    before = fingerprint_tables()
    assert is_problem(api.patch(f"/memories/{tea['id']}", changes), 409)
    assert fingerprint_tables() == before


def test_update_to_an_existing_entity_is_a_conflict(api, tea):
    entity = {"system": "jira", "id": "A-1"}
    api.add("the ticket", user_id="ada", entity=entity)
    assert is_problem(api.patch(f"/memories/{tea['id']}", {"entity": entity}), 409)


def test_missing_memory_is_404(api):
    assert is_problem(api.patch(f"/memories/{uuid4()}", {"importance": 1}), 404)


def test_memory_of_another_namespace_is_404(api, outsider, tea):
    before = fingerprint_tables()
    assert is_problem(outsider.patch(f"/memories/{tea['id']}", {"importance": 1}), 404)
    assert fingerprint_tables() == before


def test_expired_memory_is_404(api, tea):
    Memory.objects.update(expires_at=timezone.now())
    assert is_problem(api.patch(f"/memories/{tea['id']}", {"expires_at": None}), 404)


# Labels follow into the narrow table


@pytest.mark.parametrize("field", ["user_id", "memory_type", "repo_id", "expires_at"])
def test_labels_of_the_vector_follow_the_memory(api, tea, field):
    update_memory(api, tea, **{field: FIELD_CHANGES[field]})
    memory, vector = Memory.objects.get(), Embedding.objects.get()
    assert getattr(vector, field) == getattr(memory, field) is not None
    update_memory(api, tea, **{field: tea[field]})
    memory, vector = Memory.objects.get(), Embedding.objects.get()
    assert getattr(vector, field) == getattr(memory, field)


def test_labels_of_the_vector_follow_a_sql_update(api, tea):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memories_memory SET user_id = 'ben', expires_at = '2150-01-01'")
    vector = Embedding.objects.get()
    assert (vector.user_id, vector.expires_at.year) == ("ben", 2150)


def test_vector_search_uses_the_new_label_at_once(api, tea):
    update_memory(api, tea, user_id="ben")
    assert api.search("tea", mode="vector", filters={"user_id": "ada"})["results"] == []
    assert len(api.search("tea", mode="vector", filters={"user_id": "ben"})["results"]) == 1


def test_unchanged_labels_do_not_rewrite_the_vector(api, tea):
    def version() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT ctid::text FROM memories_embedding")
            return cursor.fetchone()[0]

    before = version()
    update_memory(api, tea, user_id="ada", importance=4, tags=["x"])
    assert version() == before


# At the same moment


@pytest.mark.django_db(transaction=True)
def test_concurrent_updates_of_different_fields_are_all_stored(api):
    memory = api.add("tea")
    fields = {"user_id": "ada", "agent_id": "a", "repo_id": "r", "session_id": "s", "importance": 5, "tags": ["t"]}
    answers = run_at_once([partial(update_memory, api, memory, **{name: value}) for name, value in fields.items()])
    assert len(answers) == 6
    stored = api.get(f"/memories/{memory['id']}").json()
    assert {name: stored[name] for name in fields} == fields


def test_update_takes_four_statements(api, tea, takes):
    with takes(6):  # SAVEPOINT, SELECT … FOR UPDATE, who acts, UPDATE, SELECT, RELEASE
        update_memory(api, tea, importance=4)


# Floats that PostgreSQL writes as integers

HUGE = {"d": 1e21, "e": [1e16, -1.5e300, 12345678901234568.0], "f": {"g": 2.0**53}, "h": -0.0, "i": 2**53 - 1, "j": 1.0}
WITH_METADATA = {
    "memories": ("/memories", {"content": "tea", "data": HUGE}),
    "conversations": ("/conversations", {}),
    "patterns": ("/patterns", {"pattern_type": "workflow", "key": "tea"}),
    "dependencies": ("/projects/dependencies", {"source_project": "a", "target_project": "b", "type": "uses"}),
}


@pytest.mark.parametrize("kind", WITH_METADATA)
def test_huge_floats_are_returned_as_floats_and_accepted_again(api, kind):
    path, body = WITH_METADATA[kind]
    stored = api.post(path, body | {"metadata": HUGE})
    assert stored.status_code == 201, stored.content
    found = stored.json()["metadata"]
    assert (found, list(map(type, found["e"])), type(found["d"])) == (HUGE, [float] * 3, float)
    assert api.post(path, body | {"metadata": found}).status_code in (200, 201)


def test_a_memory_with_huge_floats_can_be_sent_back_as_it_was_read(api):
    memory = api.add("tea", user_id="ada", metadata=HUGE, data=HUGE)
    address = f"/memories/{memory['id']}"
    for read in (
        lambda: api.get(address).json(),
        lambda: api.get("/memories").json()["results"][0],
        lambda: api.search("tea")["results"][0]["memory"],
        lambda: api.get("/users/ada/memories").json()["memories"][0],
    ):
        found = read()
        changed = {name: found[name] for name in ("content", "summary", "metadata", "data", "tags", "importance")}
        response = api.patch(address, changed)
        assert response.status_code == 200, response.content
        assert (response.json()["metadata"], response.json()["data"]) == (HUGE, HUGE)
    assert len(api.get(f"/memories?metadata={quote(json.dumps({'d': 1e21}))}").json()["results"]) == 1
    filters = {"metadata": found["metadata"]}
    assert api.post("/memories/delete", {"filters": filters, "dry_run": True}).json()["matched"] == 1


def test_a_preference_may_be_a_huge_float(api):
    api.call("PUT", "/preferences/ada/limit", {"value": 1e21})
    found = api.get("/preferences/ada/limit").json()["value"]
    assert type(found) is float
    assert api.call("PUT", "/preferences/ada/limit", {"value": found}).status_code == 200


def test_huge_floats_of_a_tool_result_are_returned_as_floats(api):
    body = {"user_id": "ada", "agent_id": "a", "tool": "t", "result": {"a": 1e19, "b": 2**60}}
    found = api.post("/tool-results", body).json()["memory"]["data"]
    assert (found, type(found["a"])) == ({"a": 1e19, "b": str(2**60)}, float)


def test_a_memory_with_huge_floats_can_be_edited_in_the_console(api, console):
    memory = api.add("tea", metadata={"d": 1e21})
    page = console.get(f"/admin/memories/memory/{memory['id']}/change/", {"edit": 1})
    assert "1e+21" in page.content.decode()
