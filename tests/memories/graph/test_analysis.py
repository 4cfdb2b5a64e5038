"""What is central in a user's graph, its clusters, what holds it together, and when all this is worked out anew."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import combinations
from threading import Event
from time import monotonic, process_time, sleep

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from memories.graph import analysis, louvain
from memories.graph.models import Relationship, UserTotal
from memories.models import Memory
from memories.users.statistics import compact
from memory_site.core.db.ids import uuid7
from memory_site.core.http.problems import Problem
from sessions_app.models import Namespace
from tests.wire import at_once, is_problem

pytestmark = pytest.mark.django_db
STAR = [("hub", f"leaf {n}") for n in range(10)]
RING = ["ring 0", "ring 1", "ring 2", "ring 3"]


@pytest.fixture(autouse=True)
def nothing_known():
    analysis._kept.clear()


def make(namespace: Namespace, pairs: Iterable[Sequence[str]], user: str = "ada", alone: Iterable[str] = ()) -> dict:
    """Memories by their contents, and a relationship for each pair."""
    names = dict.fromkeys([*(name for pair in pairs for name in pair), *alone])
    fixed = {"namespace": namespace, "user_id": user, "source_system": "test"}
    rows = [Memory(id=uuid7(), content=name, **fixed) for name in names]
    Memory.objects.bulk_create(rows)
    memories = {row.content: row for row in rows}
    for start, finish in pairs:
        relate(memories[start], memories[finish])
    return memories


def relate(start: Memory, finish: Memory, kind: str = "relates_to", **fields: object) -> Relationship:
    fields |= {"namespace_id": start.namespace_id, "owner": start.user_id, "type": kind}
    return Relationship.objects.create(from_memory=start, to_memory=finish, **fields)


def around(names: Sequence[str]) -> list[tuple[str, str]]:
    return [*zip(names, [*names[1:], names[0]], strict=True)]


def clique(letter: str, size: int) -> list[tuple[str, str]]:
    return [*combinations([f"{letter}{n}" for n in range(size)], 2)]


def graph(api, user: str = "ada", **parameters: object) -> dict:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    response = api.get(f"/users/{user}/graph?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def names(found: list[dict]) -> list[str]:
    return [each["memory"]["beginning"] for each in found]


def ends(bridge: dict) -> tuple[str, str]:
    return bridge["from_memory"]["beginning"], bridge["to_memory"]["beginning"]


def groups(found: dict, memories: dict) -> set[frozenset[str]]:
    by_id = {str(memory.pk): name for name, memory in memories.items()}
    return {frozenset(by_id[pk] for pk in cluster["members"]) for cluster in found["clusters"]}


def test_a_hub_is_the_most_central_and_what_ties_it_to_the_rest_is_the_foremost_bridge(api, namespace):
    make(namespace, [*STAR, ("hub", "ring 0"), *around(RING)])
    found = graph(api)
    assert names(found["central"])[0] == "hub"
    assert found["central"][0]["degree"] == 11
    assert ends(found["bridges"][0]) == ("hub", "ring 0")
    assert found["bridges"][0]["separates"] == 4
    assert found["bridge_total"] == 11
    assert names(found["connectors"]) == ["hub", "ring 0"]


def test_scores_are_those_of_pagerank_and_add_up_to_one(api, namespace):
    make(namespace, [("a", "b"), ("b", "c")])
    scores = {each["memory"]["beginning"]: each["score"] for each in graph(api)["central"]}
    # r = .05 + .85 · (what the neighbours pass on): the middle b = .05 + .85 · 2a with 2a + b = 1.
    assert scores["b"] == pytest.approx(0.9 / 1.85, abs=1e-5)
    assert scores["a"] == scores["c"] == pytest.approx((1 - 0.9 / 1.85) / 2, abs=1e-5)


def test_direction_number_and_strength_of_relationships_change_nothing_in_the_shape(api, namespace):
    memories = make(namespace, STAR)
    before = graph(api)
    relate(memories["leaf 0"], memories["hub"], "led_to", strength=0)
    relate(memories["hub"], memories["leaf 0"], "led_to", strength=0)
    after = graph(api)
    assert after["relationships"] == before["relationships"] + 2
    assert [each["score"] for each in after["central"]] == [each["score"] for each in before["central"]]
    assert after["bridge_total"] == before["bridge_total"] == 10


def test_groups_with_many_connections_inside_are_clusters(api, namespace):
    memories = make(namespace, [*clique("a", 5), *clique("b", 4), *clique("c", 3), ("a0", "b0"), ("b1", "c0")])
    found = graph(api)
    assert [each["size"] for each in found["clusters"]] == [5, 4, 3]
    assert [each["id"] for each in found["clusters"]] == [1, 2, 3]
    assert groups(found, memories) == {frozenset(name for name in memories if name[0] == letter) for letter in "abc"}
    assert found["clusters"][0]["label"] == "a0"


def test_a_ring_of_groups_falls_into_these_groups(api, namespace):
    rings = [clique(letter, 4) for letter in "abcdef"]
    joints = [(f"{one}0", f"{other}1") for one, other in around("abcdef")]
    memories = make(namespace, [pair for pairs in (*rings, joints) for pair in pairs])
    found = graph(api)
    assert groups(found, memories) == {frozenset(name for name in memories if name[0] == letter) for letter in "abcdef"}
    assert found["bridges"] == found["connectors"] == []


def test_a_cluster_is_called_by_the_entity_at_its_centre(api, namespace):
    memories = make(namespace, STAR)
    Memory.objects.filter(pk=memories["hub"].pk).update(entity_system="crm", entity_id="1", entity_name="Northwind")
    assert [each["label"] for each in graph(api)["clusters"]] == ["Northwind"]


def test_bridges_and_connectors_are_those_without_which_it_falls_apart():
    """Against the definition itself, on random graphs: take it out, and count what hangs together."""
    for seed in range(20):
        lots = random.Random(seed)
        pairs = [pair for pair in combinations(range(14), 2) if lots.random() < 0.14]
        found = found_by_hand(14, pairs)
        told = analysis.found(analysis.State(1, 1, 14, len(pairs), frozenset()), [(name(a), name(b)) for a, b in pairs])
        assert {frozenset(map(str, each.ids)): each.separates for each in told.bridges} == found[0]
        assert {str(each.ids[0]): each.separates for each in told.connectors} == found[1]


def name(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def found_by_hand(count: int, pairs: list[tuple[int, int]]) -> tuple[dict, dict]:
    bridges = {}
    for pair in pairs:
        sides = [part(end, [each for each in pairs if each != pair]) for end in pair]
        if sides[0] != sides[1]:
            bridges[frozenset(map(name, pair))] = min(map(len, sides))
    connectors = {}
    for node in range(count):
        others = [pair for pair in pairs if node not in pair]
        sides = {frozenset(part(end, others)) for pair in pairs if node in pair for end in pair if end != node}
        if len(sides) > 1:
            connectors[name(node)] = sum(map(len, sides)) - max(map(len, sides))
    return bridges, connectors


def part(start: int, pairs: list[tuple[int, int]]) -> set[int]:
    reached, before = {start}, set()
    while reached != before:
        before = set(reached)
        reached |= {end for pair in pairs if reached & set(pair) for end in pair}
    return reached


def test_a_bridge_tells_the_types_between_its_two_memories_in_the_direction_of_the_oldest(api, namespace):
    memories = make(namespace, [("a", "b")])
    relate(memories["b"], memories["a"], "answers")
    [bridge] = graph(api)["bridges"]
    assert (ends(bridge), bridge["types"], bridge["separates"]) == (("a", "b"), ["answers", "relates_to"], 1)


def test_memories_without_relationships_count_and_have_no_place(api, namespace):
    make(namespace, [("a", "b")], alone=["c", "d"])
    found = graph(api)
    assert (found["memories"], found["relationships"], found["connected"]) == (4, 1, 2)
    assert names(found["central"]) == ["a", "b"]


def test_a_user_without_relationships_has_an_empty_graph(api, namespace):
    make(namespace, [], alone=["a"])
    found = graph(api)
    assert found["memories"] == 1
    assert found["central"] == found["clusters"] == found["bridges"] == found["connectors"] == []


def test_limit_bounds_each_list_and_totals_count_all(api, namespace):
    make(namespace, STAR)
    found = graph(api, limit=2)
    assert [len(found[kind]) for kind in ("central", "clusters", "bridges", "connectors")] == [2, 1, 2, 1]
    assert found["bridge_total"] == 10
    assert is_problem(api.get("/users/ada/graph?limit=0"), 422)
    assert is_problem(api.get("/users/ada/graph?limit=101"), 422)


def test_members_of_a_cluster_are_bounded_and_its_size_is_not(api, namespace, monkeypatch):
    monkeypatch.setattr(analysis, "MEMBERS", 3)
    memories = make(namespace, STAR)
    [cluster] = graph(api)["clusters"]
    assert cluster["size"] == 11
    assert len(cluster["members"]) == 3
    assert cluster["members"][0] == str(memories["hub"].pk)


def test_who_is_not_known_is_404(api, namespace, outsider):
    make(namespace, STAR)
    assert is_problem(api.get("/users/ben/graph"), 404)
    assert is_problem(outsider.get("/users/ada/graph"), 404)


def test_a_user_id_may_hold_slashes(api, namespace):
    make(namespace, STAR, user="team/ada")
    assert graph(api, "team/ada")["memories"] == 11


def test_others_of_the_same_name_and_other_users_are_not_seen(api, namespace, elsewhere):
    make(namespace, [("a", "b")])
    make(elsewhere, STAR)
    make(namespace, around(RING), user="ben")
    found = graph(api)
    assert (found["memories"], found["relationships"]) == (2, 1)
    assert names(found["central"]) == ["a", "b"]


def test_a_known_shape_takes_three_statements_and_is_the_same(api, namespace, takes):
    make(namespace, [*STAR, ("hub", "ring 0"), *around(RING)])
    with takes(5):
        first = graph(api)
    with takes(3):
        assert graph(api) == first
    analysis._kept.clear()
    assert graph(api) == first


def test_every_kind_of_change_is_seen_at_once(api, namespace):
    memories = make(namespace, STAR)
    graph(api)
    added = relate(memories["leaf 0"], memories["leaf 1"])
    assert graph(api)["bridge_total"] == 8
    added.delete()
    assert graph(api)["bridge_total"] == 10
    Relationship.objects.bulk_create(
        [related_to(memories, "leaf 0", "leaf 2"), related_to(memories, "leaf 3", "leaf 4")]
    )
    assert graph(api)["bridge_total"] == 6
    memories["leaf 4"].delete()
    assert (graph(api)["memories"], graph(api)["bridge_total"]) == (10, 7)
    Memory.objects.filter(pk=memories["hub"].pk).update(content="the middle")
    assert names(graph(api)["central"])[0] == "the middle"
    Relationship.objects.filter(to_memory=memories["leaf 9"]).update(type="refines")
    assert ["refines"] in [bridge["types"] for bridge in graph(api)["bridges"]]


def related_to(memories: dict, start: str, finish: str) -> Relationship:
    fixed = {"namespace_id": memories[start].namespace_id, "owner": memories[start].user_id}
    return Relationship(from_memory=memories[start], to_memory=memories[finish], **fixed)


def test_a_removal_and_an_addition_between_two_looks_are_seen(api, namespace):
    memories = make(namespace, STAR)
    graph(api)
    Relationship.objects.filter(to_memory=memories["leaf 9"]).delete()
    relate(memories["leaf 8"], memories["leaf 9"])
    found = graph(api)
    assert found["relationships"] == 10
    assert found["central"][0]["degree"] == 9


def test_summing_up_the_totals_hides_no_change(api, namespace):
    memories = make(namespace, STAR)
    compact()
    graph(api)
    relate(memories["leaf 0"], memories["leaf 1"])
    Relationship.objects.filter(to_memory=memories["leaf 9"]).delete()
    compact()
    assert UserTotal.objects.count() == 1
    assert graph(api)["bridge_total"] == 7


def test_who_ends_later_with_earlier_numbers_is_seen(api, namespace):
    """A number is given when a row is written and not when its transaction ends: the last one may stand still."""
    make(namespace, STAR)
    graph(api)
    known = analysis._kept[namespace.pk, "ada"][0]
    for earlier, change in ((-1, 1), (-2, -1)):
        UserTotal.objects.create(id=earlier, namespace=namespace, user_id="ada", relationships=change)
    assert analysis.state_of(namespace.pk, "ada").last_change == known.last_change
    assert analysis.state_of(namespace.pk, "ada") != known


def test_what_expires_goes_without_a_change(api, namespace):
    memories = make(namespace, [*STAR, ("leaf 0", "leaf 1")])
    assert graph(api)["memories"] == 11
    Memory.objects.filter(pk=memories["leaf 0"].pk).update(expires_at=timezone.now())
    found = graph(api)
    assert (found["memories"], found["relationships"], found["connected"]) == (10, 9, 10)
    assert "leaf 0" not in names(found["central"])
    Memory.objects.filter(pk=memories["leaf 0"].pk).update(expires_at=timezone.now() + timedelta(hours=1))
    assert graph(api)["memories"] == 11


@pytest.mark.parametrize("limit", ["MEMORIES_AT_MOST", "RELATIONSHIPS_AT_MOST"])
def test_a_graph_above_the_bounds_is_409_and_says_so(api, namespace, monkeypatch, limit):
    make(namespace, STAR)
    monkeypatch.setattr(analysis, limit, 9)
    response = api.get("/users/ada/graph")
    assert is_problem(response, 409)
    assert "too large" in response.json()["detail"]
    assert "10 relationships" in response.json()["detail"]


def test_only_so_many_shapes_are_kept_and_the_oldest_goes(api, namespace, monkeypatch):
    monkeypatch.setattr(analysis, "KEPT", 2)
    for user in ("ada", "ben", "cem"):
        make(namespace, [("a", "b")], user=user)
    for user in ("ada", "ben", "ada", "cem"):
        graph(api, user)
    assert [user for _, user in analysis._kept] == ["ada", "cem"]


def test_places_in_a_picture_differ_and_lie_within_it(namespace):
    make(namespace, [*STAR, *around(RING)], alone=["a"])
    found = analysis.shape_of(namespace.pk, "ada")
    assert len(set(found.places)) == len(found.places) == 15
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in found.places)
    assert found.places is found.places


@pytest.fixture
def computing(monkeypatch) -> list[object]:
    """What connection each computation had, the slow way."""
    held = []

    def slow(*given):
        held.append(connection.connection)
        sleep(0.5)
        return louvain.clusters(*given)

    monkeypatch.setattr(analysis, "clusters", slow)
    return held


@contextmanager
def computing_for(namespace: Namespace, users: Sequence[str], monkeypatch) -> Iterator[None]:
    """While this lasts, the shapes of these users are being worked out."""
    begun, go = {user: Event() for user in users}, Event()

    def held_up(user: str, work: Callable, *given):
        monkeypatch.setattr(analysis, "clusters", louvain.clusters)
        begun[user].set()
        assert go.wait(30)
        return work(*given)

    def ask(user: str) -> None:
        try:
            analysis.shape_of(namespace.pk, user)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(users)) as pool:
        asked = []
        for user in users:
            monkeypatch.setattr(analysis, "clusters", partial(held_up, user, louvain.clusters))
            asked.append(pool.submit(ask, user))
            assert begun[user].wait(30)
        try:
            yield
        finally:
            go.set()
    for each in asked:
        each.result()


@pytest.mark.django_db(transaction=True)
def test_eight_who_ask_at_once_for_one_user_wait_for_one_computation(api, namespace, computing):
    make(namespace, STAR)
    answers = at_once([lambda: graph(api)] * 8)
    assert len(computing) == 1
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_computing_and_none_while_waiting(api, namespace, computing, monkeypatch):
    make(namespace, STAR)
    assert graph(api)["connected"] == 11
    assert computing == [None]
    waiting = []
    monkeypatch.setattr(analysis, "may_begin", lambda whose: waiting.append(connection.connection) or True)
    analysis._kept.clear()
    graph(api)
    assert waiting == [None]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_keeps_its_connection(namespace, computing):
    make(namespace, STAR)
    with transaction.atomic():
        make(namespace, [("a", "b")], user="ben")
        assert analysis.shape_of(namespace.pk, "ben").connected == 2
    assert None not in computing
    assert Memory.objects.filter(user_id="ben").count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_third_while_two_are_worked_out_is_told_to_come_back(api, namespace, monkeypatch):
    monkeypatch.setattr(analysis, "WAIT_SECONDS", 0.3)
    for user in ("ada", "ben", "cem"):
        make(namespace, STAR, user=user)
    with computing_for(namespace, ["ada", "ben"], monkeypatch):
        begun = monotonic()
        answers = [api.get(f"/users/{user}/graph") for user in ("cem", "ada")]
        assert monotonic() - begun < 10
    for response in answers:
        assert is_problem(response, 503)
        assert response["Retry-After"] == "5"
    assert graph(api, "cem")["connected"] == 11
    assert not analysis._at_work


@pytest.mark.django_db(transaction=True)
def test_a_long_line_is_not_joined(api, namespace, monkeypatch):
    make(namespace, STAR)
    places = 0
    while analysis.IN_LINE.acquire(blocking=False):
        places += 1
    begun = monotonic()
    assert is_problem(api.get("/users/ada/graph"), 503)
    assert monotonic() - begun < analysis.WAIT_SECONDS
    analysis.IN_LINE.release(places)
    assert graph(api)["connected"] == 11


@pytest.mark.django_db(transaction=True)
def test_who_waited_sees_what_changed_since_the_computation_began(namespace, monkeypatch):
    memories = make(namespace, STAR)

    def look() -> int:
        try:
            return analysis.shape_of(namespace.pk, "ada").relationships
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with computing_for(namespace, ["ada"], monkeypatch):
            relate(memories["leaf 0"], memories["leaf 1"])
            seen = pool.submit(look)
            sleep(0.3)
            assert not seen.done()
        assert seen.result(30) == 11


def test_a_failure_leaves_the_turn_to_others(api, namespace, monkeypatch):
    make(namespace, STAR)
    monkeypatch.setattr(analysis, "found", lambda *given: 1 / 0)
    assert is_problem(api.get("/users/ada/graph"), 500)
    monkeypatch.undo()
    assert graph(api)["connected"] == 11


def test_a_large_graph_is_answered_as_it_was_a_moment_ago_but_not_longer(api, namespace, monkeypatch):
    monkeypatch.setattr(analysis, "LARGE", 9)
    memories = make(namespace, STAR)
    graph(api)
    relate(memories["leaf 0"], memories["leaf 1"])
    assert graph(api)["relationships"] == 10
    memories["leaf 9"].delete()
    assert "leaf 9" not in names(graph(api, limit=100)["central"])
    monkeypatch.setattr(analysis, "YOUNG_SECONDS", 0)
    assert graph(api)["relationships"] == 10
    assert graph(api)["connected"] == 10


def test_an_erased_user_is_not_known_however_large_he_was(api, namespace, monkeypatch):
    monkeypatch.setattr(analysis, "LARGE", 1)
    make(namespace, STAR)
    graph(api)
    Memory.objects.filter(user_id="ada").delete()
    with pytest.raises(Problem, match="Nothing is known"):
        analysis.shape_of(namespace.pk, "ada")


def random_pairs(count: int, pairs: int) -> list[tuple[int, int]]:
    lots, found = random.Random(1), set()
    while len(found) < pairs:
        found.add(tuple(sorted(lots.sample(range(count), 2))))
    return sorted(found)


def test_a_random_graph_at_the_bounds_does_not_take_long():
    """They have no clusters to speak of, which takes longest to find out: about a second, generously bounded; ten where
    sweeps go over all nodes until none moves."""
    count, total = analysis.MEMORIES_AT_MOST, analysis.RELATIONSHIPS_AT_MOST
    assert (count, total) >= (10_000, 20_000)
    pairs = [(name(a), name(b)) for a, b in random_pairs(count, total)]
    begun = process_time()
    told = analysis.found(analysis.State(1, 1, count, total, frozenset()), pairs)
    assert process_time() - begun < 6
    assert told.connected > 0.95 * count


def test_clusters_are_as_good_as_they_are_elsewhere():
    """Modularity of Louvain's clusters by networkx 3.6 in this random graph: 0.391 to 0.399, depending on the seed."""
    pairs = random_pairs(500, 1500)
    assert modularity(louvain.clusters(pairs, 500), pairs) > 0.385


def modularity(cluster: list[int], pairs: list[tuple[int, int]]) -> float:
    degrees = Counter(cluster[end] for pair in pairs for end in pair)
    inside = sum(cluster[a] == cluster[b] for a, b in pairs) / len(pairs)
    return inside - sum((n / (2 * len(pairs))) ** 2 for n in degrees.values())


def test_the_work_is_bounded_whatever_the_graph(monkeypatch):
    monkeypatch.setattr(louvain, "LOOKS", 0)
    assert louvain.clusters([(0, 1), (1, 2)], 3) == [0, 1, 2]
    monkeypatch.setattr(louvain, "LOOKS", 20)
    assert len(set(louvain.clusters([(0, 1), (1, 2)], 3))) == 1
    monkeypatch.setattr(louvain, "LEVELS", 0)
    assert louvain.clusters([(0, 1), (1, 2)], 3) == [0, 1, 2]
