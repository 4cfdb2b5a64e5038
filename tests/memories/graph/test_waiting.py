"""An entity and what waits for it find each other, and nobody waits for anybody else because of that."""

import time
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

pytestmark = pytest.mark.django_db(transaction=True)
TICKET_KEY = {"system": "jira", "id": "A-1"}
#: Far longer than any of it takes, and less than whoever waits for a lock is given.
MAX_WAIT_SECONDS = 2


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
    """A memory that waits for an entity that is there: its id, and the entity's."""
    start = add_memory(api, user=user)
    with transaction.atomic():
        [entity] = create_entities(namespace, user)
        assert run_at_once([partial(post_relationship, api, start)]) == [202]
    return start, str(entity.pk)


def load_relationships() -> set[tuple[str, str]]:
    return {(str(start), str(end)) for start, end in Relationship.objects.values_list("from_memory", "to_memory")}


def measure_call(call) -> tuple[int, float]:
    begun = time.monotonic()
    return call(), time.monotonic() - begun


# Nothing is lost


def test_two_that_do_not_see_each_other_are_joined_by_the_sweep(api, namespace):
    ends = create_missed_relationship(api, namespace)
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)
    assert join_waiting() == 1
    assert (load_relationships(), PendingRelationship.objects.count()) == ({ends}, 0)
    assert join_waiting() == 0


def test_it_does_not_matter_who_of_the_two_is_first(api, namespace):
    start = add_memory(api)
    with transaction.atomic():
        assert post_relationship(api, start) == 202
        run_at_once([partial(add_memory, api, "told", entity=TICKET_KEY)])
    assert load_relationships() == set()
    assert join_waiting() == 1
    assert load_relationships() == {(start, str(Memory.objects.get(entity_id="A-1").pk))}


def test_nobodys_are_joined_too(api, namespace):
    ends = create_missed_relationship(api, namespace, user=None)
    assert join_waiting() == 1
    assert load_relationships() == {ends}


def test_an_entity_and_what_waits_for_it_arrive_in_the_same_moment(api):
    both = add_memory(api, "tea"), add_memory(api, "coffee")
    for turn in range(30):
        entity = TICKET_KEY | {"id": f"A-{turn}"}
        asks = [partial(post_relationship, api, pk, entity) for pk in both]
        tells = [partial(add_memory, api, "told", entity=entity)]
        run_at_once(asks + tells if turn % 2 else tells + asks)
    join_waiting()
    assert not PendingRelationship.objects.exists()
    assert len(load_relationships()) == 60


def test_another_users_entity_is_not_joined(api, outsider):
    assert post_relationship(api, add_memory(api)) == 202
    for caller, user in ((api, "ben"), (api, None), (outsider, "ada")):
        add_memory(caller, "told", user, entity=TICKET_KEY)
    assert join_waiting() == 0
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)


def test_an_expired_entity_is_not_joined(api, namespace):
    create_missed_relationship(api, namespace)
    Memory.objects.filter(entity_id="A-1").update(expires_at=timezone.now())
    assert join_waiting() == 0
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 1)


def test_beat_sweeps_every_minute():
    [entry] = [each for each in settings.CELERY_BEAT_SCHEDULE.values() if each["task"] == join_waiting.name]
    assert entry["schedule"] == 60


# The sweep waits for nobody


def test_who_holds_what_waits_is_left_for_later(api, namespace):
    mine, bens = create_missed_relationship(api, namespace), create_missed_relationship(api, namespace, "ben")
    with transaction.atomic():
        assert PendingRelationship.objects.select_for_update().get(owner="ada")
        [(_, seconds)] = run_at_once([partial(measure_call, join_waiting)])
        assert (load_relationships(), seconds < MAX_WAIT_SECONDS) == ({bens}, True)
    assert join_waiting() == 1
    assert load_relationships() == {mine, bens}


def test_who_makes_the_same_just_now_keeps_nobody_else_waiting(api, namespace):
    mine, bens = create_missed_relationship(api, namespace), create_missed_relationship(api, namespace, "ben")
    with transaction.atomic():
        relationships.upsert_relationships(namespace.pk, "ada", [relationships.NewRelationship(*mine, "relates_to")])
        [(joined, seconds)] = run_at_once([partial(measure_call, join_waiting)])
        assert (joined, seconds < MAX_WAIT_SECONDS) == (1, True)
    assert load_relationships() == {mine, bens}
    assert join_waiting() == 1
    assert not PendingRelationship.objects.exists()


def test_a_memory_is_deleted_while_what_it_waits_for_is_joined(api, namespace):
    start, _ = create_missed_relationship(api, namespace)
    with transaction.atomic():
        Memory.objects.filter(pk=start).delete()
        [(_, seconds)] = run_at_once([partial(measure_call, join_waiting)])
        assert seconds < MAX_WAIT_SECONDS
    assert (load_relationships(), PendingRelationship.objects.count()) == (set(), 0)


# Nobody waits for others


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


def test_tool_results_of_unrelated_users_do_not_stand_in_each_others_way(api):
    answers = run_at_once(
        [partial(measure_call, partial(add_tool_result, api, f"user{letter}")) for letter in "abcdefgh"]
    )
    assert [status for status, _ in answers] == [201] * 8
    assert max(seconds for _, seconds in answers) < 5
    assert PendingRelationship.objects.count() == 8 * 60


def test_a_long_import_keeps_nobody_waiting_who_asks_for_an_entity(api, namespace, elsewhere):
    start, bens = add_memory(api), add_memory(api, user="ben")
    with transaction.atomic():
        create_entities(elsewhere, count=3_000)
        create_entities(namespace, user="ben", count=3_000)
        answers = run_at_once([partial(measure_call, partial(post_relationship, api, pk)) for pk in (start, bens)])
    assert [status for status, _ in answers] == [202, 202]
    assert max(seconds for _, seconds in answers) < MAX_WAIT_SECONDS


def test_who_waits_for_many_keeps_nobody_waiting_who_adds_entities(api, outsider, namespace):
    start = add_memory(api)
    wanted = [
        relationships.NewPendingRelationship(start, "jira", f"A-{number}", "relates_to", False)
        for number in range(3_000)
    ]
    with transaction.atomic():
        relationships.insert_pending(namespace.pk, "ada", wanted)
        adds = [
            partial(add_memory, caller, "told", user, entity=TICKET_KEY)
            for caller, user in ((outsider, "ada"), (api, "ada"))
        ]
        answers = run_at_once([partial(measure_call, each) for each in adds])
    assert max(seconds for _, seconds in answers) < MAX_WAIT_SECONDS
    assert join_waiting() == 1
    assert len(load_relationships()) == 1
