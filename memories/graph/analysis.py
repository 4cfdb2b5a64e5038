"""The shape of one user's graph: what is central, which clusters there are, what holds them together.

Two memories are connected when any relationship joins them, in whichever direction; how strongly and how often does not
matter here. Only connected memories have a place in the shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import BoundedSemaphore, Condition
from time import monotonic
from uuid import UUID

import rustworkx as rx
from django.conf import settings
from django.db import connection

from memories.graph.bridges import Cut, cuts
from memories.graph.layout import places
from memories.graph.louvain import clusters
from memory_site.core.http.problems import Problem

MEMORIES_AT_MOST, RELATIONSHIPS_AT_MOST = 20_000, 50_000
#: What a shape names at most: central memories, of each other kind, and members of a cluster.
CENTRAL, NAMED, MEMBERS = 150, 100, 50
KEPT = 100
#: How many are worked out side by side in one process, and how long others wait for that: no thread can hurry it.
AT_ONCE, WAIT_SECONDS = 2, 5
#: Of the threads that answer requests a quarter may wait here; all the others are for whoever asks for something else.
IN_LINE = BoundedSemaphore(AT_ONCE + settings.WEB_THREADS // 4)
#: With more relationships than this, a changed graph is worked out anew only when its shape is older than that.
LARGE, YOUNG_SECONDS = 2_000, 10
BUSY = "This user's graph, or those of others, are being worked out; ask again in a few seconds."
RETRY = {"Retry-After": "5"}

# What changes with every memory and relationship that is added, moved or removed: the rows that triggers add for it.
# Somebody else may end after us with a lower id, so that the last one is not enough; summing up ends in a new id.
# What has expired is not counted as long as it is still there.
STATE = """
SELECT count(*), max(id), coalesce(sum(memories), 0)::bigint, coalesce(sum(relationships), 0)::bigint,
       ARRAY(
           SELECT id::text FROM memories_memory
           WHERE namespace_id = %(namespace)s AND owner = %(user)s AND expires_at <= statement_timestamp()
       )
FROM graph_usertotal WHERE namespace_id = %(namespace)s AND user_id = %(user)s
"""
# From the index alone, in its order. As text, because objects of ids would take longer to make than all the rest.
PAIRS = """
SELECT from_memory_id::text, to_memory_id::text FROM graph_relationship
WHERE namespace_id = %(namespace)s AND owner = %(user)s ORDER BY from_memory_id, to_memory_id
"""


@dataclass(frozen=True)
class State:
    """A user's graph at one moment; another state, another graph."""

    changes: int
    last_change: int | None
    memories: int
    relationships: int
    expired: frozenset[str]


@dataclass(frozen=True)
class Central:
    id: UUID
    score: float
    degree: int
    cluster: int


@dataclass(frozen=True)
class Cluster:
    """`members` are its most central memories, in that order."""

    size: int
    members: list[UUID]


@dataclass(frozen=True)
class Separating:
    """A bridge has two ids, a connector one."""

    ids: tuple[UUID, ...]
    separates: int


@dataclass(eq=False)
class Shape:
    """`central`, `clusters`, `bridges` and `connectors` are the foremost; `cluster_total` and the like count all.
    `lines` are the connections among the central, by their positions there."""

    memories: int
    relationships: int
    connected: int
    central: list[Central]
    clusters: list[Cluster]
    bridges: list[Separating]
    connectors: list[Separating]
    cluster_total: int
    bridge_total: int
    connector_total: int
    lines: list[tuple[int, int]]

    @cached_property
    def places(self) -> list[tuple[float, float]]:
        """Where each of the central stands in a picture."""
        return places(len(self.central), self.lines, [each.cluster for each in self.central])


#: Whom a shape is of: namespace id and user id.
Whose = tuple[int, str]
#: With each shape the graph it is of, and since when; what was asked for last is the last.
_kept: dict[Whose, tuple[State, Shape, float]] = {}
_at_work: set[Whose] = set()
#: Guards both, and tells when somebody is done.
_changed = Condition()


def shape_of(namespace_id: int, user_id: str) -> Shape:
    """The shape, found anew after a change; that of a LARGE graph may be YOUNG_SECONDS older than the last change.

    Raises Problem: 404 for who is not known, 409 when the graph is too large, 503 when too many are worked out now.
    Outside a transaction the thread has no database connection while it waits or computes.
    """
    whose = namespace_id, user_id
    state = checked(whose)
    return kept(whose, state) or in_line(whose, state)


def checked(whose: Whose) -> State:
    state = state_of(*whose)
    if not state.memories:
        raise Problem(404, "Nothing is known of this user.")
    if state.memories > MEMORIES_AT_MOST or state.relationships > RELATIONSHIPS_AT_MOST:
        raise Problem(409, too_large(state))
    return state


def kept(whose: Whose, state: State) -> Shape | None:
    with _changed:
        if whose not in _kept:
            return None
        _kept[whose] = known, shape, since = _kept.pop(whose)
        young = state.relationships > LARGE and monotonic() - since < YOUNG_SECONDS
        return shape if known == state or young else None


def keep(whose: Whose, state: State, shape: Shape, since: float) -> None:
    with _changed:
        _kept.pop(whose, None)
        if len(_kept) >= KEPT:
            del _kept[next(iter(_kept))]
        _kept[whose] = state, shape, since


def in_line(whose: Whose, state: State) -> Shape:
    """Once it is one's turn, and nobody has found it meanwhile."""
    if not IN_LINE.acquire(blocking=False):
        raise Problem(503, BUSY, headers=RETRY)
    try:
        give_connection_back()
        return awaited(whose, state) or worked_out(whose)
    finally:
        IN_LINE.release()


def awaited(whose: Whose, state: State) -> Shape | None:
    """The shape that somebody else has found; or None, and it is one's turn to work it out."""
    with _changed:
        if not _changed.wait_for(lambda: kept(whose, state) or may_begin(whose), WAIT_SECONDS):
            raise Problem(503, BUSY, headers=RETRY)
        shape = kept(whose, state)
        if shape is None:
            _at_work.add(whose)
        return shape


def may_begin(whose: Whose) -> bool:
    return whose not in _at_work and len(_at_work) < AT_ONCE


def worked_out(whose: Whose) -> Shape:
    """From the graph as it is after waiting. Ends one's turn."""
    try:
        since, state = monotonic(), checked(whose)
        return kept(whose, state) or anew(whose, state, since)
    finally:
        with _changed:
            _at_work.remove(whose)
            _changed.notify_all()


def anew(whose: Whose, state: State, since: float) -> Shape:
    relationships = rows(PAIRS, *whose)
    give_connection_back()
    shape = found(state, relationships)
    keep(whose, state, shape, since)
    return shape


def give_connection_back() -> None:
    """To the pool, for others. In a transaction it stays: the transaction would be lost."""
    if not connection.in_atomic_block:
        connection.close()


def state_of(namespace_id: int, user_id: str) -> State:
    *numbers, expired = rows(STATE, namespace_id, user_id)[0]
    return State(*numbers, frozenset(expired))


def rows(statement: str, namespace_id: int, user_id: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"namespace": namespace_id, "user": user_id})
        return cursor.fetchall()


def too_large(state: State) -> str:
    return (
        f"This user's graph is too large to be analysed: {state.memories:,} memories and {state.relationships:,}"
        f" relationships, of at most {MEMORIES_AT_MOST:,} and {RELATIONSHIPS_AT_MOST:,}."
    )


def found(state: State, relationships: Sequence[tuple[str, str]]) -> Shape:
    """The shape of these relationships, given by the ids of their ends."""
    living = [pair for pair in relationships if state.expired.isdisjoint(pair)]
    ids, ends = numbered(living)
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(ids)))
    graph.add_edges_from_no_data(ends)
    scores, order = ranked(graph)
    cluster, grouped = by_size(clusters(ends, len(ids)), order)
    bridges, connectors = cuts(graph)
    foremost = order[:CENTRAL]
    place = {node: at for at, node in enumerate(foremost)}
    return Shape(
        memories=state.memories - len(state.expired),
        relationships=len(living),
        connected=len(ids),
        central=[Central(UUID(ids[n]), scores[n], graph.degree(n), cluster[n]) for n in foremost],
        clusters=[Cluster(len(each), [UUID(ids[n]) for n in each[:MEMBERS]]) for each in grouped[:NAMED]],
        bridges=named(bridges, ids),
        connectors=named(connectors, ids),
        cluster_total=len(grouped),
        bridge_total=len(bridges),
        connector_total=len(connectors),
        lines=[(place[a], place[b]) for a, b in ends if a in place and b in place],
    )


def numbered(relationships: Sequence[tuple[str, str]]) -> tuple[list[str], list[tuple[int, int]]]:
    """The ids, and both ends of every connection as positions among them, each pair once."""
    numbers: dict[str, int] = {}
    ends = {tuple(sorted(numbers.setdefault(end, len(numbers)) for end in pair)) for pair in relationships}
    return list(numbers), sorted(ends)


def ranked(graph: rx.PyGraph) -> tuple[dict[int, float], list[int]]:
    """The score of each node, and the nodes, the most central first.

    PageRank with damping .85 (Page, Brin, Motwani and Winograd, 1999): how often somebody comes by who goes from memory
    to memory at random. All scores of a graph add up to 1.
    """
    scores = dict(rx.pagerank(graph.to_directed()))
    return scores, sorted(scores, key=lambda node: (-scores[node], node))


def by_size(cluster: list[int], order: list[int]) -> tuple[dict[int, int], list[list[int]]]:
    """The place of each node's cluster among all by size, and each cluster's nodes in the given order."""
    groups: dict[int, list[int]] = {}
    for node in order:
        groups.setdefault(cluster[node], []).append(node)
    largest = sorted(groups.values(), key=len, reverse=True)
    return {node: at for at, nodes in enumerate(largest) for node in nodes}, largest


def named(found: list[Cut], ids: list[str]) -> list[Separating]:
    return [Separating(tuple(UUID(ids[node]) for node in nodes), separates) for separates, *nodes in found[:NAMED]]
