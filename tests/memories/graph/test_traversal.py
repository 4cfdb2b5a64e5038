"""Memories that are connected with one memory over several relationships."""

import random
from collections import deque
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from memories.graph.models import Relationship
from memories.graph.traversal import find_related
from memories.models import Memory
from sessions_app.models import Namespace
from tests.timing import measure_best
from tests.wire import conforms_to_any, is_problem, list_blamed_fields, list_operations

pytestmark = pytest.mark.django_db
RELATED_OPERATION = next(each for each in list_operations() if each.path == "/memories/{memory_id}/related")


@pytest.fixture
def graph(api, namespace):
    """Create memories and relationships from sentences such as "a led_to b", and return the ids by name."""
    found: dict[str, str] = {}

    def memory(name: str) -> str:
        if name not in found:
            found[name] = api.add(name, user_id="ada")["id"]
        return found[name]

    def make(*sentences: str) -> dict[str, str]:
        for sentence in sentences:
            start, kind, finish, *strength = sentence.split()
            body = {"to_id": memory(finish), "type": kind, "strength": float(strength[0]) if strength else 1.0}
            assert api.post(f"/memories/{memory(start)}/relationships", body).status_code == 201
        return found

    return make


def get_related(api, pk: str, **parameters: int) -> dict[str, tuple[int, str]]:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    response = api.get(f"/memories/{pk}/related?{query}")
    assert response.status_code == 200, response.content
    assert conforms_to_any(response.json(), RELATED_OPERATION.answers["200"])
    return {each["memory"]["content"]: (each["distance"], each["path_type"]) for each in response.json()["results"]}


def test_both_directions_are_followed_and_the_nearest_come_first(api, graph):
    ids = graph("a led_to b", "c produces a", "b refines d", "d answers e")
    found = get_related(api, ids["a"])
    assert found == {"b": (1, "led_to"), "c": (1, "produces"), "d": (2, "led_to > refines")}
    assert [distance for distance, _ in found.values()] == [1, 1, 2]


def test_max_distance_bounds_the_distance(api, graph):
    ids = graph(*(f"{step} led_to {step + 1}" for step in range(8)))
    for distance in range(1, 7):
        assert set(get_related(api, ids["0"], max_distance=distance)) == {str(step) for step in range(1, distance + 1)}


@pytest.mark.parametrize("wrong", ["max_distance=0", "max_distance=7", "limit=0", "limit=101", "max_distance=x"])
def test_parameters_out_of_range_are_refused(api, graph, wrong):
    ids = graph("a led_to b")
    response = api.get(f"/memories/{ids['a']}/related?{wrong}")
    assert is_problem(response, 422)
    assert list_blamed_fields(response) == {wrong.partition("=")[0]}


def test_each_memory_is_listed_once_with_its_shortest_distance(api, graph):
    ids = graph("a led_to b", "b led_to c", "c led_to a", "c led_to d", "b led_to d", "d led_to a")
    assert {name: distance for name, (distance, _) in get_related(api, ids["a"], max_distance=6).items()} == {
        "b": 1,
        "c": 1,
        "d": 1,
    }


def test_the_strongest_of_equally_short_paths_is_returned(api, graph):
    ids = graph("a led_to b 0.9", "b led_to d 0.2", "a refines c 0.5", "c answers d 0.5", "a answers b 0.4")
    response = api.get(f"/memories/{ids['a']}/related").json()["results"]
    found = [(each["memory"]["content"], each["path_type"], each["strength"]) for each in response]
    assert found == [("b", "led_to", 0.9), ("c", "refines", 0.5), ("d", "refines > answers", 0.25)]


def test_limit_keeps_the_nearest_and_strongest(api, graph):
    ids = graph("a led_to b 0.1", "a led_to c 0.7", "c led_to d", "a led_to e 0.5")
    assert list(get_related(api, ids["a"], limit=2)) == ["c", "e"]
    assert list(get_related(api, ids["a"], limit=4)) == ["c", "e", "b", "d"]


def test_no_path_leads_through_an_expired_memory(api, graph):
    ids = graph("a led_to b", "b led_to c")
    Memory.objects.filter(pk=ids["b"]).update(expires_at=timezone.now())
    assert get_related(api, ids["a"]) == {}
    assert is_problem(api.get(f"/memories/{ids['b']}/related"), 404)


def test_an_unknown_memory_and_one_of_another_namespace_are_404(api, outsider, graph):
    ids = graph("a led_to b")
    assert is_problem(api.get(f"/memories/{uuid4()}/related"), 404)
    assert is_problem(outsider.get(f"/memories/{ids['a']}/related"), 404)


def test_a_memory_without_relationships_has_no_related_ones(api):
    assert get_related(api, api.add("alone")["id"]) == {}


def test_a_result_takes_one_statement(api, graph, takes):
    ids = graph("a led_to b")
    with takes(1):
        get_related(api, ids["a"])


# Large graphs


def create_graph(namespace: Namespace, count: int, pairs: set[tuple[int, int]]) -> list[Memory]:
    rows = [Memory(namespace=namespace, user_id="ada", content=f"{n}", source_system="test") for n in range(count)]
    rows = Memory.objects.bulk_create(rows, batch_size=1_000)
    mine = {"namespace": namespace, "owner": "ada"}
    links = [Relationship(**mine, from_memory=rows[a], to_memory=rows[b]) for a, b in sorted(pairs)]
    Relationship.objects.bulk_create(links, batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE memories_memory, graph_relationship")
    return rows


def compute_distances(pairs: set[tuple[int, int]], start: int, max_distance: int) -> dict[int, int]:
    """Compute the distances by a breadth-first search in Python."""
    beside: dict[int, set[int]] = {}
    for one, two in pairs:
        beside.setdefault(one, set()).add(two)
        beside.setdefault(two, set()).add(one)
    found, waiting = {start: 0}, deque([start])
    while waiting:
        here = waiting.popleft()
        for there in beside.get(here, set()) if found[here] < max_distance else ():
            if there not in found:
                found[there] = found[here] + 1
                waiting.append(there)
    return found


def load_distances(namespace: Namespace, start: Memory, max_distance: int) -> dict[int, int]:
    found = find_related(namespace.pk, start.pk, max_distance, 20_000)
    return {int(each["memory"]["content"]): each["distance"] for each in found}


def test_distances_are_those_of_a_breadth_first_search(namespace):
    chance = random.Random(3)
    pairs = {tuple(chance.sample(range(300), 2)) for _ in range(330)}
    rows = create_graph(namespace, 300, pairs)
    for start in chance.sample(range(300), 15):
        max_distance = chance.randint(1, 6)
        assert load_distances(namespace, rows[start], max_distance) | {start: 0} == compute_distances(
            pairs, start, max_distance
        )


def test_ten_thousand_memories_behind_hubs_of_a_thousand_are_found_in_time(api, namespace):
    chance = random.Random(5)
    pairs = {(hub * 1000, hub * 1000 + each) for hub in range(10) for each in range(1, 1000)}
    pairs |= {(hub * 1000, ((hub + 1) % 10) * 1000) for hub in range(10)}
    pairs |= {tuple(chance.sample(range(10_000), 2)) for _ in range(10_000)}
    rows = create_graph(namespace, 10_000, pairs)
    for start in (0, 1, 5000, 7777):
        address = f"/memories/{rows[start].pk}/related?max_distance=6&limit=100"
        assert len(api.get(address).json()["results"]) == 100
        assert measure_best(lambda address=address: api.get(address), 0.3) < 0.3
    with connection.cursor() as cursor:
        search = "SELECT id, distance FROM graph_related(%s, %s, 6, 20000)", [rows[1].namespace_id, rows[1].pk]
        assert measure_best(lambda: cursor.execute(*search), 0.6) < 0.6
        steps = dict(cursor.fetchall())
    place = {row.pk: number for number, row in enumerate(rows)}
    assert {place[pk]: distance for pk, distance in steps.items()} | {1: 0} == compute_distances(pairs, 1, 6)
    assert len(steps) == 9_999
