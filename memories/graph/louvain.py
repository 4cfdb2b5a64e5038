"""Clusters of a graph: parts with more connections inside than chance would give them."""

from collections import Counter, deque
from random import Random

LOUVAIN_SEED = 1
#: What bounds the work, whatever the graph: how often a level may look at each end of a connection on average
#: (random graphs take 14 at most), and levels (8 at most).
MAX_VISITS_PER_END, MAX_LOUVAIN_LEVELS = 20, 10
Adjacency = list[dict[int, int]]


def find_clusters(ends: list[tuple[int, int]], count: int) -> list[int]:
    """The cluster of each of `count` nodes, by number, given the two ends of each connection; always the same answer.

    Blondel, Guillaume, Lambiotte and Lefebvre, "Fast unfolding of communities in large networks" (2008): nodes move to
    the cluster of a neighbour as long as that makes the clusters better, then each cluster becomes a node. Only nodes
    whose neighbours have moved are looked at again (Traag, Waltman and van Eck, "From Louvain to Leiden", 2019).
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
    """The cluster of each node, by one of its nodes, when no move to a neighbour's would be better, or after
    LOOKS."""
    cluster, inside, total = list(range(len(degrees))), degrees.copy(), sum(degrees)
    waiting = deque(Random(LOUVAIN_SEED).sample(cluster, len(cluster)))
    waits, looks = [True] * len(cluster), MAX_VISITS_PER_END * sum(map(len, neighbours))
    while waiting and looks > 0:
        node = waiting.popleft()
        waits[node] = False
        looks -= len(neighbours[node])
        home, degree = cluster[node], degrees[node]
        inside[home] -= degree
        best = cluster[node] = choose_cluster(node, neighbours, cluster, inside, degree, total)
        inside[best] += degree
        if best != home:
            for other in neighbours[node]:
                if not waits[other] and cluster[other] != best:
                    waits[other] = True
                    waiting.append(other)
    return cluster


def choose_cluster(
    node: int, neighbours: Adjacency, cluster: list[int], inside: list[int], degree: int, total: int
) -> int:
    """The cluster to which the node, itself not counted in `inside`, has most connections beyond what chance would give
    it; its own if no other is better. In whole numbers: what is equal is equal, and nothing moves to and fro."""
    links = {cluster[node]: 0}
    for other, weight in neighbours[node].items():
        to = cluster[other]
        links[to] = links.get(to, 0) + weight
    return max(links, key=lambda to: links[to] * total - inside[to] * degree)


def merge_clusters(
    neighbours: Adjacency, degrees: list[int], joined: list[int]
) -> tuple[Adjacency, list[int], dict[int, int]]:
    """The graph whose nodes are the clusters, and the number that each of them has there."""
    numbers = {each: number for number, each in enumerate(dict.fromkeys(joined))}
    between: Adjacency = [Counter() for _ in numbers]
    sums = [0] * len(numbers)
    for node, links in enumerate(neighbours):
        number = numbers[joined[node]]
        sums[number] += degrees[node]
        for other, weight in links.items():
            if joined[other] != joined[node]:
                between[number][numbers[joined[other]]] += weight
    return between, sums, numbers
