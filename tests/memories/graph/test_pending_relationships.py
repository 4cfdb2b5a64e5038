"""Pending relationships are resolved when their entity is stored, without locks that delay other users."""

from functools import partial

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from memories.graph import relationships
from memories.graph.models import PendingRelationship, Relationship
from memories.graph.tasks import join_waiting
from memories.models import Memory
from tests.wire import run_at_once

# The first look-up of a key stores its use: in a transaction of the test, other look-ups would wait for its end.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("remembered_callers")]
TICKET_KEY = {"system": "jira", "id": "A-1"}


def add_memory(api, content: str = "tea", user: str = "ada", **fields: object) -> str:
    return api.add(content, user_id=user, **fields)["id"]


def post_relationship(api, start: str, entity: dict = TICKET_KEY) -> int:
    return api.post(f"/memories/{start}/relationships", {"to_entity": entity}).status_code


def create_entities(namespace, user: str = "ada", count: int = 1) -> list[Memory]:
    rows = [
        Memory(
            namespace=namespace, user_id=user, content=f"A-{number}", source_system="jira",
            entity_system="jira", entity_id=f"A-{number}",
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    return Memory.objects.bulk_create(rows, batch_size=1_000)


def create_missed_relationship(api, namespace, user: str = "ada") -> tuple[str, str]:
    """Create a pending relationship whose entity exists. Return the id of its memory and that of the entity."""
    start = add_memory(api, user=user)
    with transaction.atomic():
        [entity] = create_entities(namespace, user)
        assert run_at_once([partial(post_relationship, api, start)]) == [202]
    return start, str(entity.pk)


def load_relationships() -> set[tuple[str, str]]:
    return {(str(start), str(end)) for start, end in Relationship.objects.values_list("from_memory", "to_memory")}


# No relationship is lost


def test_beat_resolves_a_relationship_and_an_entity_of_concurrent_transactions(api, namespace):
    ends = create_missed_relationship(api, namespace)
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)
    assert join_waiting() == 1
    assert (load_relationships(), PendingRelationship.objects.count()) == ({ends}, 0)
    assert join_waiting() == 0


def test_beat_resolves_them_when_the_relationship_was_first(api, namespace):
    start = add_memory(api)
    with transaction.atomic():
        assert post_relationship(api, start) == 202
        run_at_once([partial(add_memory, api, "stored", entity=TICKET_KEY)])
    assert load_relationships() == set()
    assert join_waiting() == 1
    assert load_relationships() == {(start, str(Memory.objects.get(entity_id="A-1").pk))}


def test_relationships_without_a_user_are_resolved(api, namespace):
    ends = create_missed_relationship(api, namespace, user=None)
    assert join_waiting() == 1
    assert load_relationships() == {ends}


def test_no_relationship_is_lost_when_both_arrive_at_the_same_moment(api):
    both = add_memory(api, "tea"), add_memory(api, "coffee")
    for turn in range(30):
        entity = TICKET_KEY | {"id": f"A-{turn}"}
        relate = [partial(post_relationship, api, pk, entity) for pk in both]
        store = [partial(add_memory, api, "stored", entity=entity)]
        run_at_once(relate + store if turn % 2 else store + relate)
    join_waiting()
    assert not PendingRelationship.objects.exists()
    assert len(load_relationships()) == 60


def test_the_entity_of_another_user_does_not_resolve_it(api, outsider):
    assert post_relationship(api, add_memory(api)) == 202
    for caller, user in ((api, "ben"), (api, None), (outsider, "ada")):
        add_memory(caller, "stored", user, entity=TICKET_KEY)
    assert join_waiting() == 0
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)


def test_an_expired_entity_does_not_resolve_it(api, namespace):
    create_missed_relationship(api, namespace)
    Memory.objects.filter(entity_id="A-1").update(expires_at=timezone.now())
    assert join_waiting() == 0
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)


def test_beat_resolves_every_minute():
    [entry] = [each for each in settings.CELERY_BEAT_SCHEDULE.values() if each["task"] == join_waiting.name]
    assert entry["schedule"] == 60


# Resolving does not wait for locks: a call that waited for one that the test holds would never end


def test_locked_rows_are_left_for_the_next_run(api, namespace):
    mine, bens = create_missed_relationship(api, namespace), create_missed_relationship(api, namespace, "ben")
    with transaction.atomic():
        assert PendingRelationship.objects.select_for_update().get(owner="ada")
        run_at_once([join_waiting])
        assert load_relationships() == {bens}
    assert join_waiting() == 1
    assert load_relationships() == {mine, bens}


def test_a_concurrent_insert_of_the_same_relationship_does_not_delay_other_users(api, namespace):
    mine, bens = create_missed_relationship(api, namespace), create_missed_relationship(api, namespace, "ben")
    with transaction.atomic():
        relationships.upsert_relationships(namespace.pk, "ada", [relationships.NewRelationship(*mine, "relates_to")])
        assert run_at_once([join_waiting]) == [1]
    assert load_relationships() == {mine, bens}
    assert join_waiting() == 1
    assert not PendingRelationship.objects.exists()


def test_a_concurrent_deletion_of_the_memory_does_not_delay_the_run(api, namespace):
    start, _ = create_missed_relationship(api, namespace)
    with transaction.atomic():
        Memory.objects.filter(pk=start).delete()
        run_at_once([join_waiting])
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 0)


# Users do not wait for each other


def build_issues(user: str, count: int = 60) -> list[dict]:
    return [
        {
            "key": f"{user.upper()}-{number}",
            "fields": {"summary": "Broken", "parent": f"{user.upper()}-{number + 1000}"},
        }
        for number in range(1, count + 1)
    ]


def add_tool_result(api, user: str) -> int:
    body = {"user_id": user, "agent_id": "jira", "tool": "search", "result": {"issues": build_issues(user)}}
    return api.post("/tool-results", body).status_code


def test_tool_results_of_unrelated_users_do_not_delay_each_other(api):
    assert add_tool_result(api, "user") == 201  # what the first one stores for the namespace
    with transaction.atomic():
        assert add_tool_result(api, "usera") == 201
        assert run_at_once([partial(add_tool_result, api, f"user{letter}") for letter in "bcdefg"]) == [201] * 6
    assert PendingRelationship.objects.count() == 8 * 60


def test_a_long_import_does_not_delay_relationships_to_entities(api, namespace, elsewhere):
    start, bens = add_memory(api), add_memory(api, user="ben")
    with transaction.atomic():
        create_entities(elsewhere, count=3_000)
        create_entities(namespace, user="ben", count=3_000)
        assert run_at_once([partial(post_relationship, api, pk) for pk in (start, bens)]) == [202, 202]


def test_many_pending_relationships_do_not_delay_new_entities(api, outsider, namespace):
    start = add_memory(api)
    pending = [
        relationships.NewPendingRelationship(start, "jira", f"A-{number}", "relates_to", False)
        for number in range(3_000)
    ]
    with transaction.atomic():
        relationships.insert_pending(namespace.pk, "ada", pending)
        run_at_once([partial(add_memory, caller, "stored", "ada", entity=TICKET_KEY) for caller in (outsider, api)])
    assert join_waiting() == 1
    assert len(load_relationships()) == 1
