"""Relationships between memories, pending ones, and the constraints of the database."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memories.graph.models import PendingRelationship, Relationship, RelationshipType
from memories.models import Memory
from memory_site.core.db.ids import uuid7
from tests.wire import is_problem, list_blamed_fields, run_at_once

pytestmark = pytest.mark.django_db
TICKET_KEY = {"system": "jira", "id": "A-1"}


@pytest.fixture
def both(api) -> tuple[str, str]:
    """Two memories of one user."""
    return add_memory(api, "tea"), add_memory(api, "coffee")


def add_memory(api, content: str, user: str | None = "ada", **fields: object) -> str:
    return api.add(content, user_id=user, **fields)["id"]


def post_relationship(api, start: str, finish: str | dict, **fields: object):
    end = {"to_entity": finish} if isinstance(finish, dict) else {"to_id": finish}
    return api.post(f"/memories/{start}/relationships", end | fields)


def add_relationship(api, start: str, finish: str | dict, **fields: object) -> dict:
    response = post_relationship(api, start, finish, **fields)
    assert response.status_code in (200, 201, 202), response.content
    return response.json()


def list_relationships(api, pk: str) -> list[dict]:
    response = api.get(f"/memories/{pk}/relationships")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def load_relationships() -> set[tuple[str, str, str]]:
    found = Relationship.objects.values_list("from_memory_id", "type", "to_memory_id")
    return {(str(start), kind, str(finish)) for start, kind, finish in found}


def test_a_new_relationship_is_201_and_relates_to_by_default(api, namespace, both):
    response = post_relationship(api, *both)
    assert response.status_code == 201
    added, row = response.json(), Relationship.objects.get()
    assert (added["id"], added["from_id"], added["to_id"]) == (str(row.pk), *both)
    assert (added["type"], added["strength"], added["metadata"]) == ("relates_to", 1.0, {})
    assert (row.namespace, row.owner) == (namespace, "ada")


@pytest.mark.parametrize("kind", RelationshipType.values)
def test_every_type_is_accepted(api, both, kind):
    added = add_relationship(api, *both, type=kind, strength=0.25, metadata={"why": "because"})
    assert (added["type"], added["strength"], added["metadata"]) == (kind, 0.25, {"why": "because"})


def test_the_same_relationship_again_is_200_and_changes_the_given_fields(api, both):
    first = add_relationship(api, *both, strength=0.5, metadata={"a": 1})
    response = post_relationship(api, *both, strength=0.75)
    assert response.status_code == 200
    second = response.json()
    assert (second["strength"], second["metadata"]) == (0.75, {"a": 1})
    assert second["updated_at"] > first["updated_at"]
    assert {name for name in first if first[name] != second[name]} == {"strength", "updated_at"}
    third = add_relationship(api, *both, metadata={"b": 2})
    assert (third["strength"], third["metadata"]) == (0.75, {"b": 2})
    assert Relationship.objects.count() == 1


def test_another_type_or_direction_is_another_relationship(api, both):
    ids = {
        add_relationship(api, *both)["id"],
        add_relationship(api, *both, type="refines")["id"],
        add_relationship(api, *both[::-1])["id"],
    }
    assert len(ids) == 3


def test_adding_a_relationship_takes_one_statement(api, both, takes):
    with takes(1):
        add_relationship(api, *both)
    entity = api.add("A-1", user_id="ada", entity=TICKET_KEY)["id"]
    with takes(1):
        assert add_relationship(api, both[0], TICKET_KEY)["to_id"] == entity
    with takes(2):
        add_relationship(api, both[0], TICKET_KEY | {"id": "unknown"})


def test_a_memory_cannot_be_related_to_itself(api, both):
    response = post_relationship(api, both[0], both[0])
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"to_id"}


@pytest.mark.parametrize("owners", [("ada", "ben"), ("ada", None), (None, "ada")])
def test_memories_of_two_users_cannot_be_related(api, owners):
    start, finish = (add_memory(api, "tea", user) for user in owners)
    response = post_relationship(api, start, finish)
    assert is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == "to_id"
    assert "another user" in response.json()["errors"][0]["message"]
    assert load_relationships() == set()


def test_memories_without_a_user_can_be_related(api):
    add_relationship(api, add_memory(api, "tea", None), add_memory(api, "coffee", None))
    assert Relationship.objects.get().owner == ""


def test_unknown_memories_and_those_of_another_namespace_cannot_be_related(api, outsider, both):
    theirs = add_memory(outsider, "theirs")
    for finish in (str(uuid4()), theirs):
        assert list_blamed_fields(post_relationship(api, both[0], finish)) == {"to_id"}
    assert is_problem(post_relationship(api, str(uuid4()), both[0]), 404)
    assert is_problem(post_relationship(outsider, both[0], theirs), 404)
    assert is_problem(post_relationship(outsider, both[0], TICKET_KEY), 404)
    assert load_relationships() == set()
    assert not PendingRelationship.objects.exists()


def test_an_expired_memory_has_no_relationships(api, both):
    add_relationship(api, *both)
    Memory.objects.filter(pk=both[1]).update(expires_at=timezone.now())
    assert is_problem(post_relationship(api, *both), 422)
    assert is_problem(post_relationship(api, *both[::-1]), 404)
    assert list_relationships(api, both[0]) == []
    assert is_problem(api.get(f"/memories/{both[1]}/relationships"), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to_id"),
        ({"to_id": None}, "to_id"),
        ({"to_id": "x"}, "to_id"),
        ({"to_entity": None}, "to_entity"),
        ({"to_entity": {"system": "jira"}}, "to_entity.id"),
        ({"to_entity": TICKET_KEY, "to_id": str(UUID(int=7))}, "to_id"),
        ({"to_entity": TICKET_KEY, "type": "knows"}, "type"),
        ({"to_entity": TICKET_KEY, "strength": 1.01}, "strength"),
        ({"to_entity": TICKET_KEY, "strength": -0.01}, "strength"),
        ({"to_entity": TICKET_KEY, "metadata": []}, "metadata"),
    ],
    ids=str,
)
def test_an_invalid_field_is_named(api, both, body, field):
    response = api.post(f"/memories/{both[0]}/relationships", body)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {field}
    assert load_relationships() == set()


# Lists and deletion


def test_both_directions_are_listed_newest_first(api, both):
    tea, coffee = both
    milk = add_memory(api, "milk")
    ids = [add_relationship(api, *ends)["id"] for ends in ((tea, coffee), (milk, tea), (milk, coffee))]
    assert [each["id"] for each in list_relationships(api, tea)] == [ids[1], ids[0]]
    assert [each["id"] for each in list_relationships(api, milk)] == [ids[2], ids[1]]


def test_relationships_with_some_memories_or_of_one_type_are_listed(api, both):
    tea, coffee = both
    milk = add_memory(api, "milk")
    first = add_relationship(api, tea, coffee)["id"]
    second = add_relationship(api, milk, tea, type="refines")["id"]
    path = f"/memories/{tea}/relationships"

    def listed(query):
        return [each["id"] for each in api.get(f"{path}?{query}").json()["results"]]

    assert listed(f"with_ids={milk}") == [second]
    assert listed(f"with_ids={milk}&with_ids={coffee}") == [second, first]
    assert listed(f"with_ids={tea}") == []
    assert listed("type=refines") == [second]
    assert listed(f"with_ids={coffee}&type=refines") == []
    too_many = "&".join([f"with_ids={milk}"] * 101)
    assert is_problem(api.get(f"{path}?{too_many}"), 422)
    assert is_problem(api.get(f"{path}?type=likes"), 422)


def test_relationships_are_paginated(api, both):
    ids = [add_relationship(api, *both, type=kind)["id"] for kind in RelationshipType.values][::-1]
    path, seen = f"/memories/{both[0]}/relationships?limit=3", []
    page = api.get(path).json()
    while page["next"]:
        seen += [each["id"] for each in page["results"]]
        page = api.get(f"{path}&cursor={page['next']}").json()
    assert seen + [each["id"] for each in page["results"]] == ids
    assert [each["id"] for each in api.get(f"{path}&cursor={page['previous']}").json()["results"]] == ids[3:6]


def test_a_deleted_relationship_leaves_the_memories(api, outsider, both):
    pk = add_relationship(api, *both)["id"]
    assert is_problem(outsider.delete(f"/relationships/{pk}"), 404)
    assert api.delete(f"/relationships/{pk}").status_code == 204
    assert is_problem(api.delete(f"/relationships/{pk}"), 404)
    assert (load_relationships(), Memory.objects.count()) == (set(), 2)


@pytest.mark.parametrize("end", [0, 1])
def test_a_relationship_is_deleted_with_either_memory(api, both, end):
    add_relationship(api, *both)
    assert api.delete(f"/memories/{both[end]}").status_code == 204
    assert load_relationships() == set()


@pytest.mark.django_db(transaction=True)
def test_the_user_of_a_related_memory_cannot_be_changed(api, both):
    pk = add_relationship(api, *both)["id"]
    for end in both:
        response = api.patch(f"/memories/{end}", {"user_id": "ben"})
        assert is_problem(response, 409)
        assert "relationships" in response.json()["detail"]
        assert api.patch(f"/memories/{end}", {"user_id": "ada", "importance": 5}).status_code == 200
    api.delete(f"/relationships/{pk}")
    assert api.patch(f"/memories/{both[0]}", {"user_id": "ben"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_user_of_a_memory_with_a_pending_relationship_cannot_be_changed(api, both):
    pk = add_relationship(api, both[0], TICKET_KEY)["id"]
    assert is_problem(api.patch(f"/memories/{both[0]}", {"user_id": None}), 409)
    api.delete(f"/relationships/{pk}")
    assert api.patch(f"/memories/{both[0]}", {"user_id": None}).status_code == 200


# To an entity


def test_a_known_entity_is_related_at_once(api, both):
    entity = add_memory(api, "A-1", entity=TICKET_KEY)
    add_memory(api, "A-1", "ben", entity=TICKET_KEY)
    add_memory(api, "A-1", None, entity=TICKET_KEY)
    response = post_relationship(api, both[0], TICKET_KEY, type="depends_on")
    assert response.status_code == 201
    assert load_relationships() == {(both[0], "depends_on", entity)}
    assert post_relationship(api, both[0], TICKET_KEY, type="depends_on").status_code == 200


def test_entities_without_a_user_can_be_related(api):
    add_memory(api, "A-1", "ada", entity=TICKET_KEY)
    start, entity = add_memory(api, "tea", None), add_memory(api, "A-1", None, entity=TICKET_KEY)
    assert add_relationship(api, start, TICKET_KEY)["to_id"] == entity


def test_a_relationship_to_an_unknown_entity_is_pending_until_it_is_stored(api, both):
    response = post_relationship(api, both[0], TICKET_KEY, type="depends_on", strength=0.5, metadata={"a": 1})
    assert response.status_code == 202
    pending = response.json()
    assert (pending["pending"], pending["to_entity"], pending["from_id"]) == (True, TICKET_KEY, both[0])
    entity = add_memory(api, "A-1", entity=TICKET_KEY)
    [found] = list_relationships(api, entity)
    assert (found["id"], found["from_id"], found["to_id"]) == (pending["id"], both[0], entity)
    assert (found["type"], found["strength"], found["metadata"]) == ("depends_on", 0.5, {"a": 1})
    assert not PendingRelationship.objects.exists()


def test_the_same_pending_relationship_again_changes_the_given_fields(api, both):
    first = add_relationship(api, both[0], TICKET_KEY, strength=0.5, metadata={"a": 1})
    again = add_relationship(api, both[0], TICKET_KEY, strength=0.25)
    assert (again["id"], again["strength"], again["metadata"]) == (first["id"], 0.25, {"a": 1})
    assert PendingRelationship.objects.count() == 1


def test_only_an_entity_of_the_same_user_resolves_a_pending_relationship(api, outsider, both):
    add_relationship(api, both[0], TICKET_KEY)
    for user, caller in (("ben", api), (None, api), ("ada", outsider)):
        add_memory(caller, "A-1", user, entity=TICKET_KEY)
    add_memory(api, "A-2", entity=TICKET_KEY | {"id": "A-2"})
    assert load_relationships() == set()
    assert PendingRelationship.objects.count() == 1


def test_a_memory_that_becomes_the_entity_resolves_a_pending_relationship(api, both):
    add_relationship(api, both[0], TICKET_KEY)
    api.patch(f"/memories/{both[1]}", {"entity": TICKET_KEY})
    assert load_relationships() == {(both[0], "relates_to", both[1])}


def test_an_entity_that_is_moved_to_the_user_resolves_a_pending_relationship(api, both):
    add_relationship(api, both[0], TICKET_KEY)
    entity = add_memory(api, "A-1", "ben", entity=TICKET_KEY)
    api.patch(f"/memories/{entity}", {"user_id": "ada"})
    assert load_relationships() == {(both[0], "relates_to", entity)}


def test_entities_of_a_bulk_resolve_pending_relationships(api, both):
    for name in ("A-1", "A-2"):
        add_relationship(api, both[0], TICKET_KEY | {"id": name})
    memories = [{"content": f"A-{n}", "user_id": "ada", "entity": TICKET_KEY | {"id": f"A-{n}"}} for n in range(1, 4)]
    api.post("/memories/bulk", {"memories": [*memories, {"content": "milk"}]})
    assert len(load_relationships()) == 2
    assert not PendingRelationship.objects.exists()


def test_a_pending_relationship_can_be_deleted(api, outsider, both):
    pk = add_relationship(api, both[0], TICKET_KEY)["id"]
    assert is_problem(outsider.delete(f"/relationships/{pk}"), 404)
    assert api.delete(f"/relationships/{pk}").status_code == 204
    add_memory(api, "A-1", entity=TICKET_KEY)
    assert load_relationships() == set()


def test_a_pending_relationship_is_deleted_with_its_memory(api, both):
    add_relationship(api, both[0], TICKET_KEY)
    api.delete(f"/memories/{both[0]}")
    assert not PendingRelationship.objects.exists()


def test_an_entity_cannot_be_related_to_itself(api):
    entity = add_memory(api, "A-1", entity=TICKET_KEY)
    response = post_relationship(api, entity, TICKET_KEY)
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {"to_entity"}


def build_pending_relationship(pk: str, **fields: object) -> PendingRelationship:
    memory = Memory.objects.get(pk=pk)
    mine = {"namespace_id": memory.namespace_id, "owner": memory.owner, "from_memory": memory}
    return PendingRelationship(**mine, entity_system="jira", entity_id="A-1", **fields)


def test_a_pending_relationship_to_a_known_entity_is_resolved_at_once_whoever_inserts_it(api, both):
    entity = add_memory(api, "A-1", entity=TICKET_KEY)
    PendingRelationship.objects.bulk_create(
        [build_pending_relationship(both[0]), build_pending_relationship(both[1], reverse=True, type="produces")]
    )
    assert load_relationships() == {(both[0], "relates_to", entity), (entity, "produces", both[1])}
    assert not PendingRelationship.objects.exists()


def test_a_pending_relationship_whose_relationship_exists_is_deleted(api, both):
    PendingRelationship.objects.bulk_create([build_pending_relationship(both[0]), build_pending_relationship(both[1])])
    Memory.objects.filter(pk=both[1]).update(entity_system="jira", entity_id="A-1")
    assert load_relationships() == {(both[0], "relates_to", both[1])}
    assert not PendingRelationship.objects.exists()


def test_an_expired_entity_does_not_resolve_until_it_is_stored_again(api, both):
    add_memory(api, "A-1", entity=TICKET_KEY)
    Memory.objects.filter(entity_id="A-1").update(expires_at=timezone.now())
    assert post_relationship(api, both[0], TICKET_KEY).status_code == 202
    assert load_relationships() == set()
    assert (
        load_relationships() | {(both[0], "relates_to", add_memory(api, "A-1", entity=TICKET_KEY))}
        == load_relationships()
    )


# Concurrent requests


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_create_one_relationship(api, both):
    answers = run_at_once([partial(post_relationship, api, *both, strength=number / 20) for number in range(20)])
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_deletions_leave_no_relationship_of_a_deleted_memory(api):
    ids = [add_memory(api, f"memory {number}") for number in range(6)]
    work = [partial(post_relationship, api, start, finish) for start in ids for finish in ids if start < finish]
    answers = run_at_once([*work, *(partial(api.delete, f"/memories/{pk}") for pk in ids[:3])])
    assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 422}
    assert {str(pk) for pk in Memory.objects.values_list("pk", flat=True)} == set(ids[3:])
    assert all({start, finish} <= set(ids[3:]) for start, _, finish in load_relationships())


# Constraints of the database

INSERT_RELATIONSHIP_SQL = """
INSERT INTO graph_relationship (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
VALUES (%s, %s, %s, %s, %s, 'relates_to', %s, '{}')
"""


def insert_relationship(namespace_id: int, owner: str, start: str, finish: str, strength: float = 1) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT_RELATIONSHIP_SQL, [uuid7(), namespace_id, owner, UUID(start), UUID(finish), strength])


@pytest.mark.parametrize("owner", ["ada", "ben", ""])
def test_the_database_refuses_relationships_between_two_users(api, namespace, owner):
    memories = {name: add_memory(api, "tea", name or None) for name in ("ada", "ben", "")}
    with pytest.raises(IntegrityError, match="of_owner"):
        insert_relationship(namespace.pk, owner, memories["ada"], memories["ben"])
    with pytest.raises(IntegrityError, match="of_owner"):
        insert_relationship(namespace.pk, owner, memories["ben"], memories[""])


def test_the_database_refuses_relationships_between_two_namespaces(api, outsider, namespace):
    ours, theirs = add_memory(api, "tea"), add_memory(outsider, "tea")
    for one in (namespace.pk, Memory.objects.get(pk=theirs).namespace_id):
        with pytest.raises(IntegrityError, match="of_owner"):
            insert_relationship(one, "ada", ours, theirs)


def test_the_database_refuses_an_owner_that_is_not_the_memories(api, namespace, both):
    with pytest.raises(IntegrityError, match="of_owner"):
        insert_relationship(namespace.pk, "ben", *both)
    insert_relationship(namespace.pk, "ada", *both)


def test_the_database_refuses_to_move_one_end_to_another_user(api, both):
    add_relationship(api, *both)
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        Memory.objects.filter(pk=both[0]).update(user_id="ben")
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        Memory.objects.update(user_id="ben")


def test_the_database_refuses_pending_relationships_of_another_user(api, both):
    row = build_pending_relationship(both[0])
    row.owner = "ben"
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        row.save(force_insert=True)


def test_the_database_refuses_loops_duplicates_and_strengths_out_of_range(api, namespace, both):
    with pytest.raises(IntegrityError, match="joins_two"):
        insert_relationship(namespace.pk, "ada", both[0], both[0])
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(IntegrityError, match="strength_is_0_to_1"):
            insert_relationship(namespace.pk, "ada", *both, strength)
    insert_relationship(namespace.pk, "ada", *both)
    with pytest.raises(IntegrityError, match="kept_once"):
        insert_relationship(namespace.pk, "ada", *both)
    with pytest.raises(IntegrityError, match="type_is_known"), transaction.atomic():
        Relationship.objects.update(type="knows")


def test_relationships_are_deleted_with_their_namespace(elsewhere):
    rows = [Memory(namespace=elsewhere, user_id="ada", content=text, source_system="test") for text in ("tea", "milk")]
    start, finish = Memory.objects.bulk_create(rows)
    insert_relationship(elsewhere.pk, "ada", str(start.pk), str(finish.pk))
    PendingRelationship.objects.bulk_create([build_pending_relationship(str(start.pk))])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions_app_namespace WHERE id = %s", [elsewhere.pk])
    assert load_relationships() == set()
    assert not PendingRelationship.objects.exists()
