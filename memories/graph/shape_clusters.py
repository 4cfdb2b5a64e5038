"""Clusters of a graph: parts with more connections inside than chance would give them."""

from networkx import Graph
from networkx.algorithms.community import louvain_communities

SEED = 1


def clusters(ends: list[tuple[int, int]], count: int) -> list[int]:
    """The cluster of each of `count` nodes, by number, given the two ends of each connection; always the same answer.

    Blondel, Guillaume, Lambiotte and Lefebvre, "Fast unfolding of communities in large networks" (2008).
    """
    graph = Graph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(ends)
    found = louvain_communities(graph, seed=SEED)
    return [number for _, number in sorted((node, number) for number, nodes in enumerate(found) for node in nodes)]
