"""The Louvain method: clusters of a graph with more inner connections than chance would give them."""

from collections import Counter, deque
from random import Random

LOUVAIN_SEED = 1
#: Bounds of the work for any graph: visits of each end of a connection in a level, on average (random graphs take 14 at
#: most), and levels (8 at most).
MAX_VISITS_PER_END, MAX_LOUVAIN_LEVELS = 20, 10
#: For each node the weights of its connections, by the other node.
Adjacency = list[dict[int, int]]


def find_clusters(ends: list[tuple[int, int]], count: int) -> list[int]:
    """Return the cluster number of each of `count` nodes, given the two ends of each connection. Deterministic.

    Blondel, Guillaume, Lambiotte and Lefebvre, "Fast unfolding of communities in large networks" (2008): nodes move to
    the cluster of a neighbour while that improves the modularity, then each cluster becomes a node. A node is visited
    again only when a neighbour has moved (Traag, Waltman and van Eck, "From Louvain to Leiden", 2019).
    """
    neighbours: Adjacency = [{} for _ in range(count)]
    for one, other in ends:
        neighbours[one][other] = neighbours[other][one] = 1
    degrees = [len(each) for each in neighbours]
    cluster = list(range(count))
    for _ in range(MAX_LOUVAIN_LEVELS):
        joined = move_nodes(neighbours, degrees)
        if len(set(joined)) == len(joined):
            break
        neighbours, degrees, numbers = merge_clusters(neighbours, degrees, joined)
        cluster = [numbers[joined[each]] for each in cluster]
    return cluster


def move_nodes(neighbours: Adjacency, degrees: list[int]) -> list[int]:
    """Return the cluster of each node, named by one of its nodes: when no move would improve it, or at the bound."""
    cluster, inside, total = list(range(len(degrees))), degrees.copy(), sum(degrees)
    queue = deque(Random(LOUVAIN_SEED).sample(cluster, len(cluster)))  # noqa: S311  (a shuffle, not a secret)
    is_queued, visits_left = [True] * len(cluster), MAX_VISITS_PER_END * sum(map(len, neighbours))
    while queue and visits_left > 0:
        node = queue.popleft()
        is_queued[node] = False
        visits_left -= len(neighbours[node])
        home, degree = cluster[node], degrees[node]
        inside[home] -= degree
        best = cluster[node] = choose_cluster(node, neighbours, cluster, inside, degree, total)
        inside[best] += degree
        if best != home:
            for other in neighbours[node]:
                if not is_queued[other] and cluster[other] != best:
                    is_queued[other] = True
                    queue.append(other)
    return cluster


def choose_cluster(
    node: int, neighbours: Adjacency, cluster: list[int], inside: list[int], degree: int, total: int
) -> int:
    """Return the cluster to which the node has most connections beyond those that chance would give it; its own if no
    other is better. `inside` does not count the node. Integers compare exactly, so no node moves to and fro."""
    links = {cluster[node]: 0}
    for other, weight in neighbours[node].items():
        to = cluster[other]
        links[to] = links.get(to, 0) + weight
    return max(links, key=lambda to: links[to] * total - inside[to] * degree)


def merge_clusters(
    neighbours: Adjacency, degrees: list[int], joined: list[int]
) -> tuple[Adjacency, list[int], dict[int, int]]:
    """Return the graph whose nodes are the clusters: its adjacency, its degrees, and the node of each cluster."""
    numbers = {each: number for number, each in enumerate(dict.fromkeys(joined))}
    merged: Adjacency = [Counter() for _ in numbers]
    merged_degrees = [0] * len(numbers)
    for node, links in enumerate(neighbours):
        number = numbers[joined[node]]
        merged_degrees[number] += degrees[node]
        for other, weight in links.items():
            if joined[other] != joined[node]:
                merged[number][numbers[joined[other]]] += weight
    return merged, merged_degrees, numbers
