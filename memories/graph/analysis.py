"""Analyse one user's graph: central memories, clusters, bridges and connectors.

Two memories are connected when any relationship joins them; direction, strength and number do not count. Memories
without a relationship are counted and otherwise left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import rustworkx as rx
from django.db import connection

from memories.graph.bridges import Cut, find_bridges_and_articulation_points
from memories.graph.layout import compute_layout
from memories.graph.louvain import find_clusters
from memories.users.statistics import UNKNOWN_USER
from memory_site.core.errors import Conflict, NotFound

MAX_GRAPH_MEMORIES, MAX_GRAPH_RELATIONSHIPS = 20_000, 50_000
#: What a result holds at most: central memories, of each other kind, and members of a cluster.
MAX_CENTRAL, MAX_LISTED, MAX_CLUSTER_MEMBERS = 150, 100, 50

# Triggers insert a row for every memory and relationship that is added, moved or removed, so that their number, the
# highest id and the sums identify a state of the graph. The highest id alone does not: ids are assigned before
# transactions commit. Summing the rows up inserts a new id. Memories that expire, or are superseded, have no row until
# they are deleted.
SELECT_GRAPH_STATE_SQL = """
SELECT count(*), max(id), coalesce(sum(memories), 0)::bigint, coalesce(sum(relationships), 0)::bigint,
       ARRAY(
           SELECT id::text FROM memories_memory
           WHERE namespace_id = %(namespace)s AND owner = %(user)s AND expires_at <= statement_timestamp()
           UNION
           SELECT id::text FROM memories_memory
           WHERE namespace_id = %(namespace)s AND owner = %(user)s AND state <> 'active'
       )
FROM graph_usertotal WHERE namespace_id = %(namespace)s AND user_id = %(user)s
"""
# An index-only scan in the order of the index. Ids as text: building UUID objects would take longer than all the rest.
SELECT_CONNECTIONS_SQL = """
SELECT from_memory_id::text, to_memory_id::text FROM graph_relationship
WHERE namespace_id = %(namespace)s AND owner = %(user)s ORDER BY from_memory_id, to_memory_id
"""


@dataclass(frozen=True)
class GraphState:
    """Identifies a user's graph at one moment: a change of the graph changes the state."""

    changes: int
    last_change: int | None
    memories: int
    relationships: int
    hidden: frozenset[str]


@dataclass(frozen=True)
class CentralMemory:
    """`score` is its PageRank, `cluster` a position among the clusters by size."""

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
class AnalysisResult:
    """The lists hold the first ones only, the totals count all. `lines` connect central memories, given by their
    positions in `central`."""

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

    @property
    def layout(self) -> Sequence[tuple[float, float]]:
        """The position of each central memory in a picture, from 0 to 1 in both directions."""
        return compute_layout(tuple(self.lines), tuple(each.cluster for each in self.central))


def fetch_state(namespace_id: int, user_id: str) -> GraphState:
    """Fetch the present state. Raises NotFound for a user without memories, Conflict for a graph that is too large."""
    [(changes, last_change, memories, relationships, expired)] = fetch_rows(
        SELECT_GRAPH_STATE_SQL, namespace_id, user_id
    )
    state = GraphState(changes, last_change, memories, relationships, frozenset(expired))
    if not state.memories:
        raise NotFound(UNKNOWN_USER)
    if state.memories > MAX_GRAPH_MEMORIES or state.relationships > MAX_GRAPH_RELATIONSHIPS:
        raise Conflict(describe_excess(state))
    return state


def describe_excess(state: GraphState) -> str:
    return (
        f"This user's graph is too large to be analysed: {state.memories:,} memories and {state.relationships:,}"
        f" relationships, of at most {MAX_GRAPH_MEMORIES:,} and {MAX_GRAPH_RELATIONSHIPS:,}."
    )


def fetch_connections(namespace_id: int, user_id: str) -> list[tuple[str, str]]:
    """Return the memory ids at both ends of each relationship."""
    return fetch_rows(SELECT_CONNECTIONS_SQL, namespace_id, user_id)


def fetch_rows(statement: str, namespace_id: int, user_id: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"namespace": namespace_id, "user": user_id})
        return cursor.fetchall()


def build_analysis(state: GraphState, relationships: Sequence[tuple[str, str]]) -> AnalysisResult:
    """Analyse these relationships, given as pairs of memory ids."""
    living = [pair for pair in relationships if state.hidden.isdisjoint(pair)]
    ids, ends = number_nodes(living)
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(ids)))
    graph.add_edges_from_no_data(ends)
    scores, order = rank_nodes(graph)
    cluster, clusters = sort_clusters(find_clusters(ends, len(ids)), order)
    bridges, connectors = find_bridges_and_articulation_points(graph)
    central = order[:MAX_CENTRAL]
    position = {node: at for at, node in enumerate(central)}
    return AnalysisResult(
        memories=state.memories - len(state.hidden),
        relationships=len(living),
        connected=len(ids),
        central=[CentralMemory(UUID(ids[n]), scores[n], graph.degree(n), cluster[n]) for n in central],
        clusters=[
            GraphCluster(len(each), [UUID(ids[n]) for n in each[:MAX_CLUSTER_MEMBERS]])
            for each in clusters[:MAX_LISTED]
        ],
        bridges=resolve_cuts(bridges, ids),
        connectors=resolve_cuts(connectors, ids),
        cluster_total=len(clusters),
        bridge_total=len(bridges),
        connector_total=len(connectors),
        lines=[(position[a], position[b]) for a, b in ends if a in position and b in position],
    )


def number_nodes(relationships: Sequence[tuple[str, str]]) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the ids and the connections as pairs of positions among them, sorted and without duplicates."""
    numbers: dict[str, int] = {}
    ends = [(numbers.setdefault(a, len(numbers)), numbers.setdefault(b, len(numbers))) for a, b in relationships]
    return list(numbers), sorted({(min(pair), max(pair)) for pair in ends})


def rank_nodes(graph: rx.PyGraph) -> tuple[dict[int, float], list[int]]:
    """Return the score of each node, and the nodes by score in descending order.

    PageRank with damping .85 (Page, Brin, Motwani and Winograd, 1999): the share of visits in a random walk. All scores
    of a graph add up to 1.
    """
    scores = dict(rx.pagerank(graph.to_directed()))
    return scores, sorted(scores, key=lambda node: (-scores[node], node))


def sort_clusters(cluster: list[int], order: list[int]) -> tuple[dict[int, int], list[list[int]]]:
    """Return the rank of each node's cluster by size, and the clusters by size, each with its nodes in this order."""
    groups: dict[int, list[int]] = {}
    for node in order:
        groups.setdefault(cluster[node], []).append(node)
    largest = sorted(groups.values(), key=len, reverse=True)
    return {node: at for at, nodes in enumerate(largest) for node in nodes}, largest


def resolve_cuts(cuts: list[Cut], ids: list[str]) -> list[GraphCut]:
    return [GraphCut(tuple(UUID(ids[node]) for node in nodes), separates) for separates, *nodes in cuts[:MAX_LISTED]]
