"""How memories are related, and what the database makes impossible."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memories.graph.models import PendingRelationship, Relationship, RelationshipType
from memories.models import Memory
from memory_site.core.db.ids import uuid7
from tests.wire import at_once, blamed, is_problem

pytestmark = pytest.mark.django_db
TICKET = {"system": "jira", "id": "A-1"}


@pytest.fixture
def both(api) -> tuple[str, str]:
    """Two memories of one user."""
    return add(api, "tea"), add(api, "coffee")


def add(api, content: str, user: str | None = "ada", **fields: object) -> str:
    return api.add(content, user_id=user, **fields)["id"]


def relate(api, start: str, finish: str | dict, **fields: object):
    end = {"to_entity": finish} if isinstance(finish, dict) else {"to_id": finish}
    return api.post(f"/memories/{start}/relationships", end | fields)


def related(api, start: str, finish: str | dict, **fields: object) -> dict:
    response = relate(api, start, finish, **fields)
    assert response.status_code in (200, 201, 202), response.content
    return response.json()


def listed(api, pk: str) -> list[dict]:
    response = api.get(f"/memories/{pk}/relationships")
    assert response.status_code == 200, response.content
    return response.json()["results"]


def kept() -> set[tuple[str, str, str]]:
    found = Relationship.objects.values_list("from_memory_id", "type", "to_memory_id")
    return {(str(start), kind, str(finish)) for start, kind, finish in found}


def test_a_new_one_is_201_and_relates_to_by_default(api, namespace, both):
    response = relate(api, *both)
    assert response.status_code == 201
    told, row = response.json(), Relationship.objects.get()
    assert (told["id"], told["from_id"], told["to_id"]) == (str(row.pk), *both)
    assert (told["type"], told["strength"], told["metadata"]) == ("relates_to", 1.0, {})
    assert (row.namespace, row.owner) == (namespace, "ada")


@pytest.mark.parametrize("kind", RelationshipType.values)
def test_every_type_is_accepted(api, both, kind):
    told = related(api, *both, type=kind, strength=0.25, metadata={"why": "because"})
    assert (told["type"], told["strength"], told["metadata"]) == (kind, 0.25, {"why": "because"})


def test_again_it_is_200_and_changes_what_is_said(api, both):
    first = related(api, *both, strength=0.5, metadata={"a": 1})
    response = relate(api, *both, strength=0.75)
    assert response.status_code == 200
    second = response.json()
    assert (second["strength"], second["metadata"]) == (0.75, {"a": 1})
    assert second["updated_at"] > first["updated_at"]
    assert {name for name in first if first[name] != second[name]} == {"strength", "updated_at"}
    third = related(api, *both, metadata={"b": 2})
    assert (third["strength"], third["metadata"]) == (0.75, {"b": 2})
    assert Relationship.objects.count() == 1


def test_another_type_or_direction_is_another_one(api, both):
    ids = {related(api, *both)["id"], related(api, *both, type="refines")["id"], related(api, *both[::-1])["id"]}
    assert len(ids) == 3


def test_it_takes_one_statement(api, both, takes):
    with takes(1):
        related(api, *both)
    entity = api.add("A-1", user_id="ada", entity=TICKET)["id"]
    with takes(1):
        assert related(api, both[0], TICKET)["to_id"] == entity
    with takes(2):
        related(api, both[0], TICKET | {"id": "unknown"})


def test_a_memory_is_not_related_to_itself(api, both):
    response = relate(api, both[0], both[0])
    assert is_problem(response, 422)
    assert blamed(response) == {"to_id"}


@pytest.mark.parametrize("owners", [("ada", "ben"), ("ada", None), (None, "ada")])
def test_memories_of_two_users_are_not_related(api, owners):
    start, finish = (add(api, "tea", user) for user in owners)
    response = relate(api, start, finish)
    assert is_problem(response, 422)
    assert response.json()["errors"][0]["field"] == "to_id"
    assert "another user" in response.json()["errors"][0]["message"]
    assert kept() == set()


def test_memories_of_nobody_are_related(api):
    related(api, add(api, "tea", None), add(api, "coffee", None))
    assert Relationship.objects.get().owner == ""


def test_what_is_not_there_is_not_related(api, outsider, both):
    theirs = add(outsider, "theirs")
    for finish in (str(uuid4()), theirs):
        assert blamed(relate(api, both[0], finish)) == {"to_id"}
    assert is_problem(relate(api, str(uuid4()), both[0]), 404)
    assert is_problem(relate(outsider, both[0], theirs), 404)
    assert is_problem(relate(outsider, both[0], TICKET), 404)
    assert kept() == set()
    assert not PendingRelationship.objects.exists()


def test_an_expired_memory_is_not_there(api, both):
    related(api, *both)
    Memory.objects.filter(pk=both[1]).update(expires_at=timezone.now())
    assert is_problem(relate(api, *both), 422)
    assert is_problem(relate(api, *both[::-1]), 404)
    assert listed(api, both[0]) == []
    assert is_problem(api.get(f"/memories/{both[1]}/relationships"), 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "to_id"),
        ({"to_id": None}, "to_id"),
        ({"to_id": "x"}, "to_id"),
        ({"to_entity": None}, "to_entity"),
        ({"to_entity": {"system": "jira"}}, "to_entity.id"),
        ({"to_entity": TICKET, "to_id": str(UUID(int=7))}, "to_id"),
        ({"to_entity": TICKET, "type": "knows"}, "type"),
        ({"to_entity": TICKET, "strength": 1.01}, "strength"),
        ({"to_entity": TICKET, "strength": -0.01}, "strength"),
        ({"to_entity": TICKET, "metadata": []}, "metadata"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(api, both, body, field):
    response = api.post(f"/memories/{both[0]}/relationships", body)
    assert is_problem(response, 422)
    assert blamed(response) == {field}
    assert kept() == set()


# Both directions, and the end


def test_both_directions_are_listed_newest_first(api, both):
    tea, coffee = both
    milk = add(api, "milk")
    ids = [related(api, *ends)["id"] for ends in ((tea, coffee), (milk, tea), (milk, coffee))]
    assert [each["id"] for each in listed(api, tea)] == [ids[1], ids[0]]
    assert [each["id"] for each in listed(api, milk)] == [ids[2], ids[1]]


def test_they_come_in_pages(api, both):
    ids = [related(api, *both, type=kind)["id"] for kind in RelationshipType.values][::-1]
    path, seen = f"/memories/{both[0]}/relationships?limit=3", []
    page = api.get(path).json()
    while page["next"]:
        seen += [each["id"] for each in page["results"]]
        page = api.get(f"{path}&cursor={page['next']}").json()
    assert seen + [each["id"] for each in page["results"]] == ids
    assert [each["id"] for each in api.get(f"{path}&cursor={page['previous']}").json()["results"]] == ids[3:6]


def test_it_is_deleted_and_the_memories_stay(api, outsider, both):
    pk = related(api, *both)["id"]
    assert is_problem(outsider.delete(f"/relationships/{pk}"), 404)
    assert api.delete(f"/relationships/{pk}").status_code == 204
    assert is_problem(api.delete(f"/relationships/{pk}"), 404)
    assert (kept(), Memory.objects.count()) == (set(), 2)


@pytest.mark.parametrize("end", [0, 1])
def test_it_goes_with_either_end(api, both, end):
    related(api, *both)
    assert api.delete(f"/memories/{both[end]}").status_code == 204
    assert kept() == set()


@pytest.mark.django_db(transaction=True)
def test_a_memory_that_is_related_keeps_its_user(api, both):
    pk = related(api, *both)["id"]
    for end in both:
        response = api.patch(f"/memories/{end}", {"user_id": "ben"})
        assert is_problem(response, 409)
        assert "relationships" in response.json()["detail"]
        assert api.patch(f"/memories/{end}", {"user_id": "ada", "importance": 5}).status_code == 200
    api.delete(f"/relationships/{pk}")
    assert api.patch(f"/memories/{both[0]}", {"user_id": "ben"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_memory_whose_relationship_waits_keeps_its_user(api, both):
    pk = related(api, both[0], TICKET)["id"]
    assert is_problem(api.patch(f"/memories/{both[0]}", {"user_id": None}), 409)
    api.delete(f"/relationships/{pk}")
    assert api.patch(f"/memories/{both[0]}", {"user_id": None}).status_code == 200


# To an entity


def test_a_known_entity_is_related_at_once(api, both):
    entity = add(api, "A-1", entity=TICKET)
    add(api, "A-1", "ben", entity=TICKET)
    add(api, "A-1", None, entity=TICKET)
    response = relate(api, both[0], TICKET, type="depends_on")
    assert response.status_code == 201
    assert kept() == {(both[0], "depends_on", entity)}
    assert relate(api, both[0], TICKET, type="depends_on").status_code == 200


def test_nobody_has_entities_too(api):
    add(api, "A-1", "ada", entity=TICKET)
    start, entity = add(api, "tea", None), add(api, "A-1", None, entity=TICKET)
    assert related(api, start, TICKET)["to_id"] == entity


def test_an_unknown_entity_is_waited_for(api, both):
    response = relate(api, both[0], TICKET, type="depends_on", strength=0.5, metadata={"a": 1})
    assert response.status_code == 202
    told = response.json()
    assert (told["pending"], told["to_entity"], told["from_id"]) == (True, TICKET, both[0])
    entity = add(api, "A-1", entity=TICKET)
    [found] = listed(api, entity)
    assert (found["id"], found["from_id"], found["to_id"]) == (told["id"], both[0], entity)
    assert (found["type"], found["strength"], found["metadata"]) == ("depends_on", 0.5, {"a": 1})
    assert not PendingRelationship.objects.exists()


def test_waiting_again_changes_what_is_said(api, both):
    first = related(api, both[0], TICKET, strength=0.5, metadata={"a": 1})
    again = related(api, both[0], TICKET, strength=0.25)
    assert (again["id"], again["strength"], again["metadata"]) == (first["id"], 0.25, {"a": 1})
    assert PendingRelationship.objects.count() == 1


def test_only_the_same_users_entity_is_waited_for(api, outsider, both):
    related(api, both[0], TICKET)
    for user, caller in (("ben", api), (None, api), ("ada", outsider)):
        add(caller, "A-1", user, entity=TICKET)
    add(api, "A-2", entity=TICKET | {"id": "A-2"})
    assert kept() == set()
    assert PendingRelationship.objects.count() == 1


def test_an_entity_that_a_memory_gets_later_is_met(api, both):
    related(api, both[0], TICKET)
    api.patch(f"/memories/{both[1]}", {"entity": TICKET})
    assert kept() == {(both[0], "relates_to", both[1])}


def test_an_entity_that_its_user_gets_later_is_met(api, both):
    related(api, both[0], TICKET)
    entity = add(api, "A-1", "ben", entity=TICKET)
    api.patch(f"/memories/{entity}", {"user_id": "ada"})
    assert kept() == {(both[0], "relates_to", entity)}


def test_a_bulk_is_met_too(api, both):
    for name in ("A-1", "A-2"):
        related(api, both[0], TICKET | {"id": name})
    memories = [{"content": f"A-{n}", "user_id": "ada", "entity": TICKET | {"id": f"A-{n}"}} for n in range(1, 4)]
    api.post("/memories/bulk", {"memories": [*memories, {"content": "milk"}]})
    assert len(kept()) == 2
    assert not PendingRelationship.objects.exists()


def test_what_waits_may_be_given_up(api, outsider, both):
    pk = related(api, both[0], TICKET)["id"]
    assert is_problem(outsider.delete(f"/relationships/{pk}"), 404)
    assert api.delete(f"/relationships/{pk}").status_code == 204
    add(api, "A-1", entity=TICKET)
    assert kept() == set()


def test_what_waits_goes_with_its_memory(api, both):
    related(api, both[0], TICKET)
    api.delete(f"/memories/{both[0]}")
    assert not PendingRelationship.objects.exists()


def test_an_entity_does_not_wait_for_itself(api):
    entity = add(api, "A-1", entity=TICKET)
    response = relate(api, entity, TICKET)
    assert is_problem(response, 422)
    assert blamed(response) == {"to_entity"}


def waiting(pk: str, **fields: object) -> PendingRelationship:
    memory = Memory.objects.get(pk=pk)
    mine = {"namespace_id": memory.namespace_id, "owner": memory.owner, "from_memory": memory}
    return PendingRelationship(**mine, entity_system="jira", entity_id="A-1", **fields)


def test_whoever_writes_it_it_does_not_wait_for_what_is_there(api, both):
    entity = add(api, "A-1", entity=TICKET)
    PendingRelationship.objects.bulk_create([waiting(both[0]), waiting(both[1], reverse=True, type="produces")])
    assert kept() == {(both[0], "relates_to", entity), (entity, "produces", both[1])}
    assert not PendingRelationship.objects.exists()


def test_what_waits_for_a_relationship_that_is_there_is_over(api, both):
    PendingRelationship.objects.bulk_create([waiting(both[0]), waiting(both[1])])
    Memory.objects.filter(pk=both[1]).update(entity_system="jira", entity_id="A-1")
    assert kept() == {(both[0], "relates_to", both[1])}
    assert not PendingRelationship.objects.exists()


def test_an_expired_entity_is_not_met_until_it_is_stored_again(api, both):
    add(api, "A-1", entity=TICKET)
    Memory.objects.filter(entity_id="A-1").update(expires_at=timezone.now())
    assert relate(api, both[0], TICKET).status_code == 202
    assert kept() == set()
    assert kept() | {(both[0], "relates_to", add(api, "A-1", entity=TICKET))} == kept()


# At once


@pytest.mark.django_db(transaction=True)
def test_many_at_once_make_one(api, both):
    answers = at_once([partial(relate, api, *both, strength=number / 20) for number in range(20)])
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.django_db(transaction=True)
def test_relating_and_deleting_leave_nothing_behind(api):
    ids = [add(api, f"memory {number}") for number in range(6)]
    work = [partial(relate, api, start, finish) for start in ids for finish in ids if start < finish]
    answers = at_once([*work, *(partial(api.delete, f"/memories/{pk}") for pk in ids[:3])])
    assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 422}
    assert {str(pk) for pk in Memory.objects.values_list("pk", flat=True)} == set(ids[3:])
    assert all({start, finish} <= set(ids[3:]) for start, _, finish in kept())


# The database keeps its promises

LINK = """
INSERT INTO graph_relationship (id, namespace_id, owner, from_memory_id, to_memory_id, type, strength, metadata)
VALUES (%s, %s, %s, %s, %s, 'relates_to', %s, '{}')
"""


def link(namespace_id: int, owner: str, start: str, finish: str, strength: float = 1) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LINK, [uuid7(), namespace_id, owner, UUID(start), UUID(finish), strength])


@pytest.mark.parametrize("owner", ["ada", "ben", ""])
def test_the_database_refuses_what_joins_two_users(api, namespace, owner):
    memories = {name: add(api, "tea", name or None) for name in ("ada", "ben", "")}
    with pytest.raises(IntegrityError, match="of_owner"):
        link(namespace.pk, owner, memories["ada"], memories["ben"])
    with pytest.raises(IntegrityError, match="of_owner"):
        link(namespace.pk, owner, memories["ben"], memories[""])


def test_the_database_refuses_what_joins_two_namespaces(api, outsider, namespace):
    ours, theirs = add(api, "tea"), add(outsider, "tea")
    for one in (namespace.pk, Memory.objects.get(pk=theirs).namespace_id):
        with pytest.raises(IntegrityError, match="of_owner"):
            link(one, "ada", ours, theirs)


def test_the_database_refuses_an_owner_that_is_not_the_memories(api, namespace, both):
    with pytest.raises(IntegrityError, match="of_owner"):
        link(namespace.pk, "ben", *both)
    link(namespace.pk, "ada", *both)


def test_the_database_refuses_to_move_one_end_to_another_user(api, both):
    related(api, *both)
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        Memory.objects.filter(pk=both[0]).update(user_id="ben")
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        Memory.objects.update(user_id="ben")


def test_the_database_refuses_what_waits_for_another_user(api, both):
    row = waiting(both[0])
    row.owner = "ben"
    with pytest.raises(IntegrityError, match="of_owner"), transaction.atomic():
        row.save(force_insert=True)


def test_the_database_refuses_itself_twins_and_strange_strengths(api, namespace, both):
    with pytest.raises(IntegrityError, match="joins_two"):
        link(namespace.pk, "ada", both[0], both[0])
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(IntegrityError, match="strength_is_0_to_1"):
            link(namespace.pk, "ada", *both, strength)
    link(namespace.pk, "ada", *both)
    with pytest.raises(IntegrityError, match="kept_once"):
        link(namespace.pk, "ada", *both)
    with pytest.raises(IntegrityError, match="type_is_known"), transaction.atomic():
        Relationship.objects.update(type="knows")


def test_it_goes_with_its_namespace(elsewhere):
    rows = [Memory(namespace=elsewhere, user_id="ada", content=text, source_system="test") for text in ("tea", "milk")]
    start, finish = Memory.objects.bulk_create(rows)
    link(elsewhere.pk, "ada", str(start.pk), str(finish.pk))
    PendingRelationship.objects.bulk_create([waiting(str(start.pk))])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sessions_app_namespace WHERE id = %s", [elsewhere.pk])
    assert kept() == set()
    assert not PendingRelationship.objects.exists()
