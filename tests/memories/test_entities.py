"""The memory of an entity is updated when the entity is stored again."""

from datetime import datetime
from functools import partial

import pytest
from django.utils import timezone

from memories import tasks
from memories.models import DueEmbedding, Memory
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
TICKET_KEY = {"system": "jira", "id": "A-1"}


def add_entity(api, content: str = "A-1 is open.", **fields: object) -> dict:
    return api.add(content, **{"entity": TICKET_KEY} | fields)


def add_bulk(api, *memories: dict) -> dict:
    response = api.post("/memories/bulk", {"memories": list(memories)})
    assert response.status_code == 201, response.content
    return response.json()


def test_an_entity_stored_again_is_the_same_memory_with_the_new_content(api):
    first = add_entity(api, summary="Open")
    response = api.post("/memories", {"content": "A-1 is closed.", "summary": "Closed", "entity": TICKET_KEY})
    assert response.status_code == 200
    again = response.json()
    assert (again["id"], again["created"], again["created_at"]) == (first["id"], False, first["created_at"])
    assert (again["content"], again["summary"]) == ("A-1 is closed.", "Closed")
    assert Memory.objects.count() == 1


def test_updates_of_an_entity_are_counted_and_dated(api):
    first = add_entity(api)
    assert (first["update_count"], first["last_updated"]) == (0, None)
    add_entity(api)
    third = add_entity(api)
    assert third["update_count"] == 2
    assert datetime.fromisoformat(third["last_updated"]) > datetime.fromisoformat(first["created_at"])
    assert third["last_updated"] == third["updated_at"]
    assert api.get(f"/memories/{first['id']}").json() | {"created": False} == third


def test_updates_of_other_memories_are_not_counted(api):
    api.add("tea")
    assert (api.add("tea")["update_count"], api.add("tea")["last_updated"]) == (0, None)


def test_entity_data_is_merged_field_by_field(api):
    add_entity(api, data={"entity_data": {"status": "open", "owner": "Ada"}, "kept": 1, "changed": 1})
    again = add_entity(api, data={"entity_data": {"status": "closed", "points": 3}, "changed": 2, "new": 3})
    assert again["data"] == {
        "entity_data": {"status": "closed", "owner": "Ada", "points": 3},
        "kept": 1,
        "changed": 2,
        "new": 3,
    }


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ({"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"entity_data": {"x": 1}}, {"b": 2}, {"entity_data": {"x": 1}, "b": 2}),
        ({"entity_data": {"x": 1}}, {"entity_data": [2]}, {"entity_data": [2]}),
        ({"entity_data": "text"}, {"entity_data": {"x": 1}}, {"entity_data": {"x": 1}}),
        ({"entity_data": {"x": {"y": 1}}}, {"entity_data": {"x": {"z": 2}}}, {"entity_data": {"x": {"z": 2}}}),
        (None, {"entity_data": {"x": 1}}, {"entity_data": {"x": 1}}),
        ({"entity_data": {"x": 1}}, None, {"entity_data": {"x": 1}}),
        (None, None, None),
    ],
)
def test_any_other_data_is_merged_key_by_key(api, first, second, merged):
    add_entity(api, data=first)
    assert add_entity(api, data=second)["data"] == merged


def test_entity_data_of_a_memory_without_entity_is_replaced(api):
    api.add("tea", data={"entity_data": {"x": 1}})
    assert api.add("tea", data={"entity_data": {"y": 2}})["data"] == {"entity_data": {"y": 2}}


def test_tags_and_metadata_are_merged_and_missing_labels_filled(api):
    add_entity(api, tags=["a"], metadata={"a": 1, "b": 1}, agent_id="first", summary="Open")
    again = add_entity(api, tags=["b", "a"], metadata={"b": 2}, agent_id="second", repo_id="site")
    assert (again["tags"], again["metadata"]) == (["a", "b"], {"a": 1, "b": 2})
    assert (again["agent_id"], again["repo_id"], again["summary"]) == ("first", "site", "Open")


def test_a_newer_entity_type_or_name_replaces_the_older(api):
    add_entity(api, entity=TICKET_KEY | {"type": "bug", "name": "The first"})
    assert add_entity(api, entity=TICKET_KEY | {"name": "One"})["entity"] == TICKET_KEY | {"type": "bug", "name": "One"}
    assert add_entity(api)["entity"] == TICKET_KEY | {"type": "bug", "name": "One"}


def test_importance_confidence_and_expiry_are_merged_as_in_other_memories(api):
    add_entity(api, importance=4, confidence=0.3, expires_at="2150-01-01T00:00:00Z")
    again = add_entity(api, importance=2, confidence=0.6, expires_at="2140-01-01T00:00:00Z")
    assert (again["importance"], again["confidence"], again["expires_at"][:4]) == (4, 0.6, "2150")
    assert add_entity(api)["expires_at"] is None


def test_base_relevance_changes_only_when_given(api):
    assert add_entity(api, base_relevance=0.4)["base_relevance"] == 0.4
    assert add_entity(api)["base_relevance"] == 0.4
    again = add_entity(api, base_relevance=0.7)
    assert again["base_relevance"] == 0.7
    assert api.patch(f"/memories/{again['id']}", {"base_relevance": 1.0}).json()["base_relevance"] == 1


@pytest.mark.parametrize("share", [-0.1, 1.1, "1", None, True])
def test_base_relevance_is_a_number_from_0_to_1(api, share):
    response = api.post("/memories", {"content": "tea", "base_relevance": share})
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"base_relevance"}


def test_only_new_content_is_embedded_again(api):
    add_entity(api)
    tasks.embed_due()
    assert add_entity(api)["embedded"] is True
    assert not DueEmbedding.objects.exists()
    assert add_entity(api, "A-1 is closed.")["embedded"] is False
    assert tasks.embed_due() == 1
    assert api.post("/memories?wait=true", {"content": "A-1 is gone.", "entity": TICKET_KEY}).json()["embedded"] is True


def test_storing_an_entity_takes_one_statement(api, takes):
    for content in ("A-1 is open.", "A-1 is closed."):
        with takes(1):
            add_entity(api, content)


def test_an_entity_and_a_memory_with_the_same_content_are_two(api):
    plain, entity = api.add("A-1 is open."), add_entity(api)
    assert plain["id"] != entity["id"]
    assert (api.add("A-1 is open.")["id"], add_entity(api)["id"]) == (plain["id"], entity["id"])


def test_entities_are_unique_by_namespace_user_and_system(api, outsider):
    added = [
        add_entity(api),
        add_entity(api, user_id="ada"),
        add_entity(api, user_id="ben"),
        add_entity(api, entity=TICKET_KEY | {"system": "servicenow"}),
        add_entity(api, entity=TICKET_KEY | {"id": "A-2"}),
        add_entity(outsider),
    ]
    assert len({each["id"] for each in added}) == len(added)


def test_an_expired_entity_is_replaced(api):
    old = add_entity(api, tags=["old"])
    Memory.objects.update(expires_at=timezone.now())
    new = add_entity(api)
    assert new["id"] != old["id"]
    assert (new["created"], new["tags"], new["update_count"]) == (True, [], 0)


def test_another_memory_cannot_become_an_existing_entity(api):
    add_entity(api)
    other = api.add("tea")
    assert is_problem(api.patch(f"/memories/{other['id']}", {"entity": TICKET_KEY}), 409)


# Bulk


def test_a_bulk_may_mix_entities_with_other_memories(api):
    old = add_entity(api)["id"]
    answer = add_bulk(
        api,
        {"content": "A-1 is open."},
        {"content": "A-1 is closed.", "entity": TICKET_KEY, "data": {"entity_data": {"a": 1}}},
        {"content": "A-2 is open.", "entity": TICKET_KEY | {"id": "A-2"}},
        {"content": "A-1 is gone.", "entity": TICKET_KEY, "data": {"entity_data": {"b": 2}}},
        {"content": "A-1 is open."},
    )
    assert (answer["created"], answer["existing"]) == (2, 3)
    assert answer["ids"][1] == answer["ids"][3] == old
    assert answer["ids"][0] == answer["ids"][4] != old
    entity = api.get(f"/memories/{old}").json()
    assert (entity["content"], entity["update_count"]) == ("A-1 is gone.", 2)
    assert entity["data"] == {"entity_data": {"a": 1, "b": 2}}


def test_the_last_version_in_a_bulk_is_stored_even_if_it_equals_the_first(api):
    versions = [{"content": content, "entity": TICKET_KEY} for content in ("open", "closed", "open", "open")]
    [pk] = set(add_bulk(api, *versions)["ids"])
    assert api.get(f"/memories/{pk}").json()["content"] == "open"


def test_a_retry_because_of_an_expired_entity_counts_the_others_once(api):
    kept, gone = add_entity(api)["id"], add_entity(api, entity=TICKET_KEY | {"id": "A-2"})["id"]
    Memory.objects.filter(pk=gone).update(expires_at=timezone.now())
    answer = add_bulk(api, *({"content": "again", "entity": TICKET_KEY | {"id": name}} for name in ("A-1", "A-2")))
    assert (answer["created"], answer["ids"][0]) == (1, kept)
    assert Memory.objects.get(pk=kept).update_count == 1


def test_a_bulk_of_entities_takes_as_many_statements_as_one_of_memories(api, takes):
    with takes(3):  # SAVEPOINT, INSERT, RELEASE
        add_bulk(api, *({"content": "open", "entity": {"system": "jira", "id": f"A-{n}"}} for n in range(500)))
    with takes(4):
        add_bulk(api, {"content": "tea"}, {"content": "A-1 is open.", "entity": TICKET_KEY})


@pytest.mark.django_db(transaction=True)
def test_twenty_concurrent_writers_of_one_entity_create_one_memory_with_all_fields(api):
    def body(number: int) -> dict:
        data = {"entity_data": {f"field {number}": number}, f"key {number}": number}
        return {
            "content": f"told {number}",
            "entity": TICKET_KEY,
            "user_id": "ada",
            "data": data,
            "tags": [f"tag {number}"],
        }

    answers = run_at_once([partial(api.post, "/memories", body(number)) for number in range(20)])
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    memory = Memory.objects.get()
    assert {answer.json()["id"] for answer in answers} == {str(memory.pk)}
    assert memory.update_count == 19
    assert memory.data["entity_data"] == {f"field {number}": number for number in range(20)}
    assert len(memory.data) == 21
    assert len(memory.tags) == 20


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_replace_an_expired_entity_once(api):
    old = add_entity(api)["id"]
    Memory.objects.update(expires_at=timezone.now())
    answers = run_at_once([partial(api.post, "/memories", {"content": "told", "entity": TICKET_KEY})] * 12)
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    memory = Memory.objects.get()
    assert str(memory.pk) != old
    assert memory.update_count == 11
