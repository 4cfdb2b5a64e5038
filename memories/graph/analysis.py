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

from memories.graph.bridges import Cut, find_bridges_and_articulation_points
from memories.graph.layout import compute_layout
from memories.graph.louvain import find_clusters
from memory_site.core.http.problems import Problem

MAX_GRAPH_MEMORIES, MAX_GRAPH_RELATIONSHIPS = 20_000, 50_000
#: What a shape names at most: central memories, of each other kind, and members of a cluster.
MAX_CENTRAL, MAX_LISTED, MAX_CLUSTER_MEMBERS = 150, 100, 50
MAX_CACHED_ANALYSES = 100
#: How many are worked out side by side in one process, and how long others wait for that: no thread can hurry it.
MAX_CONCURRENT_ANALYSES, ANALYSIS_WAIT_SECONDS = 2, 5
#: Of the threads that answer requests a quarter may wait here; all the others are for whoever asks for something else.
WAITING_SLOTS = BoundedSemaphore(MAX_CONCURRENT_ANALYSES + settings.WEB_THREADS // 4)
#: With more relationships than this, a changed graph is worked out anew only when its shape is older than that.
LARGE_GRAPH_RELATIONSHIPS, LARGE_GRAPH_CACHE_SECONDS = 2_000, 10
BUSY_MESSAGE = "This user's graph, or those of others, are being worked out; ask again in a few seconds."
RETRY_HEADERS = {"Retry-After": "5"}

# What changes with every memory and relationship that is added, moved or removed: the rows that triggers add for it.
# Somebody else may end after us with a lower id, so that the last one is not enough; summing up ends in a new id.
# What has expired is not counted as long as it is still there.
SELECT_GRAPH_STATE_SQL = """
SELECT count(*), max(id), coalesce(sum(memories), 0)::bigint, coalesce(sum(relationships), 0)::bigint,
       ARRAY(
           SELECT id::text FROM memories_memory
           WHERE namespace_id = %(namespace)s AND owner = %(user)s AND expires_at <= statement_timestamp()
       )
FROM graph_usertotal WHERE namespace_id = %(namespace)s AND user_id = %(user)s
"""
# From the index alone, in its order. As text, because objects of ids would take longer to make than all the rest.
SELECT_CONNECTIONS_SQL = """
SELECT from_memory_id::text, to_memory_id::text FROM graph_relationship
WHERE namespace_id = %(namespace)s AND owner = %(user)s ORDER BY from_memory_id, to_memory_id
"""


@dataclass(frozen=True)
class GraphState:
    """A user's graph at one moment; another state, another graph."""

    changes: int
    last_change: int | None
    memories: int
    relationships: int
    expired: frozenset[str]


@dataclass(frozen=True)
class CentralMemory:
    id: UUID
    score: float
    degree: int
    cluster: int


@dataclass(frozen=True)
class GraphCluster:
    """`members` are its most central memories, in that order."""

    size: int
    members: list[UUID]


@dataclass(frozen=True)
class GraphCut:
    """A bridge has two ids, a connector one."""

    ids: tuple[UUID, ...]
    separates: int


@dataclass(eq=False)
class GraphAnalysis:
    """`central`, `clusters`, `bridges` and `connectors` are the foremost; `cluster_total` and the like count all.
    `lines` are the connections among the central, by their positions there."""

    memories: int
    relationships: int
    connected: int
    central: list[CentralMemory]
    clusters: list[GraphCluster]
    bridges: list[GraphCut]
    connectors: list[GraphCut]
    cluster_total: int
    bridge_total: int
    connector_total: int
    lines: list[tuple[int, int]]

    @cached_property
    def layout(self) -> list[tuple[float, float]]:
        """Where each of the central stands in a picture."""
        return compute_layout(len(self.central), self.lines, [each.cluster for each in self.central])


#: Whom a shape is of: namespace id and user id.
GraphOwner = tuple[int, str]
#: With each shape the graph it is of, and since when; what was asked for last is the last.
_cache: dict[GraphOwner, tuple[GraphState, GraphAnalysis, float]] = {}
_running: set[GraphOwner] = set()
#: Guards both, and tells when somebody is done.
_cache_changed = Condition()


def analyse_graph(namespace_id: int, user_id: str) -> GraphAnalysis:
    """The shape, found anew after a change; that of a LARGE graph may be YOUNG_SECONDS older than the last change.

    Raises Problem: 404 for who is not known, 409 when the graph is too large, 503 when too many are worked out now.
    Outside a transaction the thread has no database connection while it waits or computes.
    """
    whose = namespace_id, user_id
    state = fetch_checked_state(whose)
    return get_cached(whose, state) or compute_with_slot(whose, state)


def fetch_checked_state(whose: GraphOwner) -> GraphState:
    state = fetch_state(*whose)
    if not state.memories:
        raise Problem(404, "Nothing is known of this user.")
    if state.memories > MAX_GRAPH_MEMORIES or state.relationships > MAX_GRAPH_RELATIONSHIPS:
        raise Problem(409, describe_excess(state))
    return state


def get_cached(whose: GraphOwner, state: GraphState) -> GraphAnalysis | None:
    with _cache_changed:
        if whose not in _cache:
            return None
        _cache[whose] = known, shape, since = _cache.pop(whose)
        young = state.relationships > LARGE_GRAPH_RELATIONSHIPS and monotonic() - since < LARGE_GRAPH_CACHE_SECONDS
        return shape if known == state or young else None


def cache_analysis(whose: GraphOwner, state: GraphState, shape: GraphAnalysis, since: float) -> None:
    with _cache_changed:
        _cache.pop(whose, None)
        if len(_cache) >= MAX_CACHED_ANALYSES:
            del _cache[next(iter(_cache))]
        _cache[whose] = state, shape, since


def compute_with_slot(whose: GraphOwner, state: GraphState) -> GraphAnalysis:
    """Once it is one's turn, and nobody has found it meanwhile."""
    if not WAITING_SLOTS.acquire(blocking=False):
        raise Problem(503, BUSY_MESSAGE, headers=RETRY_HEADERS)
    try:
        release_connection()
        return wait_for_result(whose, state) or compute_once(whose)
    finally:
        WAITING_SLOTS.release()


def wait_for_result(whose: GraphOwner, state: GraphState) -> GraphAnalysis | None:
    """The shape that somebody else has found; or None, and it is one's turn to work it out."""
    with _cache_changed:
        if not _cache_changed.wait_for(lambda: get_cached(whose, state) or may_start(whose), ANALYSIS_WAIT_SECONDS):
            raise Problem(503, BUSY_MESSAGE, headers=RETRY_HEADERS)
        shape = get_cached(whose, state)
        if shape is None:
            _running.add(whose)
        return shape


def may_start(whose: GraphOwner) -> bool:
    return whose not in _running and len(_running) < MAX_CONCURRENT_ANALYSES


def compute_once(whose: GraphOwner) -> GraphAnalysis:
    """From the graph as it is after waiting. Ends one's turn."""
    try:
        since, state = monotonic(), fetch_checked_state(whose)
        return get_cached(whose, state) or compute_and_cache(whose, state, since)
    finally:
        with _cache_changed:
            _running.remove(whose)
            _cache_changed.notify_all()


def compute_and_cache(whose: GraphOwner, state: GraphState, since: float) -> GraphAnalysis:
    relationships = fetch_rows(SELECT_CONNECTIONS_SQL, *whose)
    release_connection()
    shape = build_analysis(state, relationships)
    cache_analysis(whose, state, shape, since)
    return shape


def release_connection() -> None:
    """To the pool, for others. In a transaction it stays: the transaction would be lost."""
    if not connection.in_atomic_block:
        connection.close()


def fetch_state(namespace_id: int, user_id: str) -> GraphState:
    *numbers, expired = fetch_rows(SELECT_GRAPH_STATE_SQL, namespace_id, user_id)[0]
    return GraphState(*numbers, frozenset(expired))


def fetch_rows(statement: str, namespace_id: int, user_id: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"namespace": namespace_id, "user": user_id})
        return cursor.fetchall()


def describe_excess(state: GraphState) -> str:
    return (
        f"This user's graph is too large to be analysed: {state.memories:,} memories and {state.relationships:,}"
        f" relationships, of at most {MAX_GRAPH_MEMORIES:,} and {MAX_GRAPH_RELATIONSHIPS:,}."
    )


def build_analysis(state: GraphState, relationships: Sequence[tuple[str, str]]) -> GraphAnalysis:
    """The shape of these relationships, given by the ids of their ends."""
    living = [pair for pair in relationships if state.expired.isdisjoint(pair)]
    ids, ends = number_nodes(living)
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(ids)))
    graph.add_edges_from_no_data(ends)
    scores, order = rank_nodes(graph)
    cluster, grouped = sort_clusters(find_clusters(ends, len(ids)), order)
    bridges, connectors = find_bridges_and_articulation_points(graph)
    foremost = order[:MAX_CENTRAL]
    place = {node: at for at, node in enumerate(foremost)}
    return GraphAnalysis(
        memories=state.memories - len(state.expired),
        relationships=len(living),
        connected=len(ids),
        central=[CentralMemory(UUID(ids[n]), scores[n], graph.degree(n), cluster[n]) for n in foremost],
        clusters=[
            GraphCluster(len(each), [UUID(ids[n]) for n in each[:MAX_CLUSTER_MEMBERS]]) for each in grouped[:MAX_LISTED]
        ],
        bridges=resolve_cuts(bridges, ids),
        connectors=resolve_cuts(connectors, ids),
        cluster_total=len(grouped),
        bridge_total=len(bridges),
        connector_total=len(connectors),
        lines=[(place[a], place[b]) for a, b in ends if a in place and b in place],
    )


def number_nodes(relationships: Sequence[tuple[str, str]]) -> tuple[list[str], list[tuple[int, int]]]:
    """The ids, and both ends of every connection as positions among them, each pair once."""
    numbers: dict[str, int] = {}
    ends = {tuple(sorted(numbers.setdefault(end, len(numbers)) for end in pair)) for pair in relationships}
    return list(numbers), sorted(ends)


def rank_nodes(graph: rx.PyGraph) -> tuple[dict[int, float], list[int]]:
    """The score of each node, and the nodes, the most central first.

    PageRank with damping .85 (Page, Brin, Motwani and Winograd, 1999): how often somebody comes by who goes from memory
    to memory at random. All scores of a graph add up to 1.
    """
    scores = dict(rx.pagerank(graph.to_directed()))
    return scores, sorted(scores, key=lambda node: (-scores[node], node))


def sort_clusters(cluster: list[int], order: list[int]) -> tuple[dict[int, int], list[list[int]]]:
    """The place of each node's cluster among all by size, and each cluster's nodes in the given order."""
    groups: dict[int, list[int]] = {}
    for node in order:
        groups.setdefault(cluster[node], []).append(node)
    largest = sorted(groups.values(), key=len, reverse=True)
    return {node: at for at, nodes in enumerate(largest) for node in nodes}, largest


def resolve_cuts(found: list[Cut], ids: list[str]) -> list[GraphCut]:
    return [GraphCut(tuple(UUID(ids[node]) for node in nodes), separates) for separates, *nodes in found[:MAX_LISTED]]
