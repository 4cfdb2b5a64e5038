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
from tests.wire import at_once

pytestmark = pytest.mark.django_db(transaction=True)
TICKET = {"system": "jira", "id": "A-1"}
#: Far longer than any of it takes, and less than whoever waits for a lock is given.
SECONDS = 2


def add(api, content: str = "tea", user: str = "ada", **fields: object) -> str:
    return api.add(content, user_id=user, **fields)["id"]


def ask(api, start: str, entity: dict = TICKET) -> int:
    return api.post(f"/memories/{start}/relationships", {"to_entity": entity}).status_code


def entities(namespace, user: str = "ada", count: int = 1) -> list[Memory]:
    rows = [
        Memory(
            namespace=namespace, user_id=user, content=f"A-{number}", source_system="jira",
            entity_system="jira", entity_id=f"A-{number}",
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    return Memory.objects.bulk_create(rows, batch_size=1_000)


def missed(api, namespace, user: str = "ada") -> tuple[str, str]:
    """A memory that waits for an entity that is there: its id, and the entity's."""
    start = add(api, user=user)
    with transaction.atomic():
        [entity] = entities(namespace, user)
        assert at_once([partial(ask, api, start)]) == [202]
    return start, str(entity.pk)


def kept() -> set[tuple[str, str]]:
    return {(str(start), str(end)) for start, end in Relationship.objects.values_list("from_memory", "to_memory")}


def timed(call) -> tuple[int, float]:
    begun = time.monotonic()
    return call(), time.monotonic() - begun


# Nothing is lost


def test_two_that_do_not_see_each_other_are_joined_by_the_sweep(api, namespace):
    ends = missed(api, namespace)
    assert (kept(), PendingRelationship.objects.count()) == (set(), 1)
    assert join_waiting() == 1
    assert (kept(), PendingRelationship.objects.count()) == ({ends}, 0)
    assert join_waiting() == 0


def test_it_does_not_matter_who_of_the_two_is_first(api, namespace):
    start = add(api)
    with transaction.atomic():
        assert ask(api, start) == 202
        at_once([partial(add, api, "told", entity=TICKET)])
    assert kept() == set()
    assert join_waiting() == 1
    assert kept() == {(start, str(Memory.objects.get(entity_id="A-1").pk))}


def test_nobodys_are_joined_too(api, namespace):
    ends = missed(api, namespace, user=None)
    assert join_waiting() == 1
    assert kept() == {ends}


def test_an_entity_and_what_waits_for_it_arrive_in_the_same_moment(api):
    both = add(api, "tea"), add(api, "coffee")
    for turn in range(30):
        entity = TICKET | {"id": f"A-{turn}"}
        asks = [partial(ask, api, pk, entity) for pk in both]
        tells = [partial(add, api, "told", entity=entity)]
        at_once(asks + tells if turn % 2 else tells + asks)
    join_waiting()
    assert not PendingRelationship.objects.exists()
    assert len(kept()) == 60


def test_another_users_entity_is_not_joined(api, outsider):
    assert ask(api, add(api)) == 202
    for caller, user in ((api, "ben"), (api, None), (outsider, "ada")):
        add(caller, "told", user, entity=TICKET)
    assert join_waiting() == 0
    assert (kept(), PendingRelationship.objects.count()) == (set(), 1)


def test_an_expired_entity_is_not_joined(api, namespace):
    missed(api, namespace)
    Memory.objects.filter(entity_id="A-1").update(expires_at=timezone.now())
    assert join_waiting() == 0
    assert (kept(), PendingRelationship.objects.count()) == (set(), 1)


def test_beat_sweeps_every_minute():
    [entry] = [each for each in settings.CELERY_BEAT_SCHEDULE.values() if each["task"] == join_waiting.name]
    assert entry["schedule"] == 60


# The sweep waits for nobody


def test_who_holds_what_waits_is_left_for_later(api, namespace):
    mine, bens = missed(api, namespace), missed(api, namespace, "ben")
    with transaction.atomic():
        assert PendingRelationship.objects.select_for_update().get(owner="ada")
        [(_, seconds)] = at_once([partial(timed, join_waiting)])
        assert (kept(), seconds < SECONDS) == ({bens}, True)
    assert join_waiting() == 1
    assert kept() == {mine, bens}


def test_who_makes_the_same_just_now_keeps_nobody_else_waiting(api, namespace):
    mine, bens = missed(api, namespace), missed(api, namespace, "ben")
    with transaction.atomic():
        relationships.relate(namespace.pk, "ada", [relationships.Relation(*mine, "relates_to")])
        [(joined, seconds)] = at_once([partial(timed, join_waiting)])
        assert (joined, seconds < SECONDS) == (1, True)
    assert kept() == {mine, bens}
    assert join_waiting() == 1
    assert not PendingRelationship.objects.exists()


def test_a_memory_is_deleted_while_what_it_waits_for_is_joined(api, namespace):
    start, _ = missed(api, namespace)
    with transaction.atomic():
        Memory.objects.filter(pk=start).delete()
        [(_, seconds)] = at_once([partial(timed, join_waiting)])
        assert seconds < SECONDS
    assert (kept(), PendingRelationship.objects.count()) == (set(), 0)


# Nobody waits for others


def issues(user: str, count: int = 60) -> list[dict]:
    return [
        {
            "key": f"{user.upper()}-{number}",
            "fields": {"summary": "Broken", "parent": f"{user.upper()}-{number + 1000}"},
        }
        for number in range(1, count + 1)
    ]


def tell(api, user: str) -> int:
    body = {"user_id": user, "agent_id": "jira", "tool": "search", "result": {"issues": issues(user)}}
    return api.post("/tool-results", body).status_code


def test_tool_results_of_unrelated_users_do_not_stand_in_each_others_way(api):
    answers = at_once([partial(timed, partial(tell, api, f"user{letter}")) for letter in "abcdefgh"])
    assert [status for status, _ in answers] == [201] * 8
    assert max(seconds for _, seconds in answers) < 5
    assert PendingRelationship.objects.count() == 8 * 60


def test_a_long_import_keeps_nobody_waiting_who_asks_for_an_entity(api, namespace, elsewhere):
    start, bens = add(api), add(api, user="ben")
    with transaction.atomic():
        entities(elsewhere, count=3_000)
        entities(namespace, user="ben", count=3_000)
        answers = at_once([partial(timed, partial(ask, api, pk)) for pk in (start, bens)])
    assert [status for status, _ in answers] == [202, 202]
    assert max(seconds for _, seconds in answers) < SECONDS


def test_who_waits_for_many_keeps_nobody_waiting_who_adds_entities(api, outsider, namespace):
    start = add(api)
    wanted = [relationships.Waiting(start, "jira", f"A-{number}", "relates_to", False) for number in range(3_000)]
    with transaction.atomic():
        relationships.wait_for(namespace.pk, "ada", wanted)
        adds = [partial(add, caller, "told", user, entity=TICKET) for caller, user in ((outsider, "ada"), (api, "ada"))]
        answers = at_once([partial(timed, each) for each in adds])
    assert max(seconds for _, seconds in answers) < SECONDS
    assert join_waiting() == 1
    assert len(kept()) == 1
