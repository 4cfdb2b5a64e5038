"""Totals of users, counted by triggers for every way of writing."""

import random
from functools import partial
from itertools import pairwise

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from memories import tasks
from memories.graph.models import Relationship, UserTotal
from memories.models import Memory
from memories.users import statistics
from memories.users.admin.user_list import filter_totals
from sessions_app.models import Namespace
from tests.wire import run_at_once

pytestmark = pytest.mark.django_db


def create_memories(namespace: Namespace, user: str | None, count: int, start: int = 0) -> list[Memory]:
    rows = [
        Memory(namespace=namespace, user_id=user, content=f"memory {number}", source_system="test")
        for number in range(start, start + count)
    ]
    return Memory.objects.bulk_create(rows)


def create_chain(rows: list[Memory]) -> list[Relationship]:
    """Relate each memory to the next one."""
    links = [
        Relationship(namespace_id=one.namespace_id, owner=one.user_id or "", from_memory=one, to_memory=two)
        for one, two in pairwise(rows)
    ]
    return Relationship.objects.bulk_create(links)


def load_totals(namespace: Namespace) -> dict[str, tuple[int, int]]:
    rows = UserTotal.objects.filter(namespace=namespace).sum_by_user(namespace_id=namespace.pk)
    return {row["user_id"]: (row["memory_total"], row["relationship_total"]) for row in rows}


def execute_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def count_totals(namespace: Namespace) -> dict[str, tuple[int, int]]:
    """Count the rows themselves."""
    found: dict[str, list[int]] = {}
    for place, model, name in ((0, Memory, "user_id"), (1, Relationship, "owner")):
        for user in model.objects.filter(namespace=namespace).values_list(name, flat=True):
            if user:
                found.setdefault(user, [0, 0])[place] += 1
    return {user: tuple(each) for user, each in found.items()}


def test_memories_added_one_by_one_and_in_bulk_are_counted(api, namespace):
    for content in ("tea", "coffee", "tea"):
        api.add(content, user_id="ada")
    create_memories(namespace, "ada", 50)
    create_memories(namespace, "ben", 3)
    assert load_totals(namespace) == {"ada": (52, 0), "ben": (3, 0)}


def test_memories_without_a_user_are_not_counted(namespace):
    create_chain(create_memories(namespace, None, 3))
    assert not UserTotal.objects.exists()
    Memory.objects.all().delete()
    assert not UserTotal.objects.exists()


def test_relationships_are_counted(namespace):
    rows = create_chain(create_memories(namespace, "ada", 5))
    assert load_totals(namespace) == {"ada": (5, 4)}
    rows[0].delete()
    assert load_totals(namespace) == {"ada": (5, 3)}


def test_deleted_memories_and_their_relationships_are_not_counted(namespace):
    rows = create_memories(namespace, "ada", 6)
    create_chain(rows)
    rows[2].delete()
    assert load_totals(namespace) == {"ada": (5, 3)}
    Memory.objects.filter(pk__in=[row.pk for row in rows[:4]]).delete()
    assert load_totals(namespace) == {"ada": (2, 1)}
    execute_sql("DELETE FROM memories_memory")
    assert load_totals(namespace) == {}


def test_moving_a_memory_to_another_user_changes_two_totals(api, namespace):
    rows = create_memories(namespace, "ada", 3)
    api.patch(f"/memories/{rows[0].pk}", {"user_id": "ben"})
    api.patch(f"/memories/{rows[1].pk}", {"user_id": None})
    assert load_totals(namespace) == {"ada": (1, 0), "ben": (1, 0)}
    Memory.objects.update(user_id="cy", agent_id="a")
    assert load_totals(namespace) == {"cy": (3, 0)}


def test_memories_stay_in_their_namespace_and_so_do_the_totals(namespace, elsewhere):
    create_memories(namespace, "ada", 3)
    with pytest.raises(IntegrityError), transaction.atomic():
        Memory.objects.update(namespace=elsewhere)
    assert (load_totals(namespace), load_totals(elsewhere)) == ({"ada": (3, 0)}, {})


def test_an_update_that_moves_no_memory_inserts_no_row(namespace):
    create_memories(namespace, "ada", 3)
    before = UserTotal.objects.count()
    Memory.objects.update(user_id="ada", importance=5)
    assert UserTotal.objects.count() == before


def test_totals_are_separate_by_namespace_and_deleted_with_it(namespace, elsewhere):
    create_chain(create_memories(namespace, "ada", 3))
    create_chain(create_memories(elsewhere, "ada", 2))
    assert (load_totals(namespace), load_totals(elsewhere)) == ({"ada": (3, 2)}, {"ada": (2, 1)})
    execute_sql(f"DELETE FROM sessions_app_namespace WHERE id = {namespace.pk}")
    assert (load_totals(namespace), load_totals(elsewhere)) == ({}, {"ada": (2, 1)})


def test_truncate_is_counted(namespace):
    create_chain(create_memories(namespace, "ada", 3))
    execute_sql("TRUNCATE graph_relationship")
    assert load_totals(namespace) == {"ada": (3, 0)}
    execute_sql("TRUNCATE memories_memory CASCADE")
    assert load_totals(namespace) == {}
    create_memories(namespace, "ada", 2)
    assert load_totals(namespace) == {"ada": (2, 0)}


@pytest.mark.parametrize(
    ("expired", "total"),
    [([], (5, 4)), ([0], (4, 3)), ([4], (4, 3)), ([1, 2], (3, 1)), ([0, 4], (3, 2)), ([1, 3], (3, 0))],
)
def test_expired_memories_and_their_relationships_are_not_counted(namespace, expired, total):
    rows = create_memories(namespace, "ada", 5)
    create_chain(rows)
    create_chain(create_memories(namespace, "ben", 2))
    Memory.objects.filter(pk__in=[rows[place].pk for place in expired]).update(expires_at=timezone.now())
    assert load_totals(namespace) == {"ada": total, "ben": (2, 1)}
    tasks.delete_expired()
    assert load_totals(namespace) == {"ada": total, "ben": (2, 1)}


def test_a_user_whose_memories_have_all_expired_is_unknown(api, namespace):
    create_chain(create_memories(namespace, "ada", 3))
    Memory.objects.update(expires_at=timezone.now())
    assert load_totals(namespace) == {}
    assert api.get("/users").json()["results"] == []
    assert api.get("/users/ada").status_code == 404


def test_totals_agree_with_the_summary_and_the_console(api, namespace):
    rows = create_memories(namespace, "ada", 3)
    Memory.objects.filter(pk=rows[0].pk).update(expires_at=timezone.now())
    assert api.get("/users/ada").json()["memories"] == api.get("/summary").json()["total_memories"] == 2
    total = {"namespace_id": namespace.pk, "user_id": "ada", "memory_total": 2, "relationship_total": 0}
    assert list(filter_totals(namespace, "")) == [total]


def test_expired_memories_are_subtracted_by_an_index(namespace):
    for user in ("ada", "ben", "cleo"):
        create_memories(namespace, user, 300)
    Memory.objects.update(expires_at=timezone.now())
    execute_sql("ANALYZE memories_memory")
    query = str(
        UserTotal.objects.filter(namespace=namespace, user_id="ada").sum_by_user(namespace_id=namespace.pk).explain()
    )
    assert "memory_expiring_of_user" in query


def test_compacting_leaves_one_row_for_each_user_with_memories(namespace):
    for number in range(5):
        create_memories(namespace, "ada", 2, start=2 * number)
        create_memories(namespace, "ben", 1, start=number)
    Memory.objects.filter(user_id="ben").delete()
    create_memories(namespace, "cy", 1)
    assert statistics.compact_totals(namespace.pk) == 1
    assert sorted(UserTotal.objects.values_list("user_id", "memories")) == [("ada", 10), ("cy", 1)]
    assert statistics.compact_totals(namespace.pk) == 0


def test_totals_are_right_after_random_operations(namespace):
    chance = random.Random(7)
    for turn in range(60):
        rows = create_memories(namespace, chance.choice(["ada", "ben", None]), chance.randint(1, 5), start=turn * 10)
        create_chain(rows)
        ids = list(Memory.objects.order_by("pk").values_list("pk", flat=True))
        some = chance.sample(ids, min(chance.randint(0, 4), len(ids)))
        match turn % 4:
            case 0:
                Memory.objects.filter(pk__in=some).delete()
            case 1:
                Relationship.objects.filter(from_memory__in=some).delete()
            case 2:
                Memory.objects.filter(pk__in=some, outgoing=None, incoming=None).update(user_id="cy")
            case 3:
                statistics.compact_totals(namespace.pk)
    assert load_totals(namespace) == count_totals(namespace)
    assert len(load_totals(namespace)) == 3


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_and_compactions_lose_no_count(api, namespace):
    adds = [partial(api.add, f"memory {number}", user_id="ada") for number in range(24)]
    run_at_once([*adds, *[partial(statistics.compact_totals, namespace.pk)] * 4])
    ids = [str(pk) for pk in Memory.objects.values_list("pk", flat=True)]
    run_at_once(
        [
            *(partial(api.delete, f"/memories/{pk}") for pk in ids[:9]),
            *[partial(statistics.compact_totals, namespace.pk)] * 2,
        ]
    )
    assert load_totals(namespace) == {"ada": (15, 0)}
    statistics.compact_totals(namespace.pk)
    assert load_totals(namespace) == {"ada": (15, 0)}
