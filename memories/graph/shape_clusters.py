"""Clusters of a graph: parts with more connections inside than chance would give them (Louvain)."""

import numpy as np

# Moves wanted at once can undo each other, so that of each round's a half is made, by lot. After sixteen rounds little
# is left to gain.
ROUNDS, SEED = 16, 1
LEAST_GAIN = 1e-9


def clusters(ends: np.ndarray, count: int) -> np.ndarray:
    """The cluster of each of `count` nodes, by number, given the two ends of each connection, each pair once.

    Blondel, Guillaume, Lambiotte and Lefebvre, "Fast unfolding of communities in large networks" (2008): every node
    goes where modularity gains most, then each cluster becomes one node, until nothing moves. Always the same answer.
    """
    cluster, weights, lots = np.arange(count), np.ones(len(ends)), np.random.default_rng(SEED)
    while True:
        names, moved = np.unique(moves(ends, weights, count, lots), return_inverse=True)
        cluster = moved[cluster]
        if len(names) == count:
            return cluster
        ends, weights, count = joined(moved[ends], weights, len(names))


def joined(ends: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The same graph with each pair once, its weights added up."""
    pairs, at = np.unique(np.sort(ends, axis=1) @ [count, 1], return_inverse=True)
    return np.stack(np.divmod(pairs, count), axis=1), np.bincount(at, weights), count


def moves(ends: np.ndarray, weights: np.ndarray, count: int, lots: np.random.Generator) -> np.ndarray:
    """Where each node goes when every one begins as a cluster of its own."""
    ends, weights = np.concatenate([ends, ends[:, ::-1]]), np.tile(weights, 2)
    degrees = np.bincount(ends[:, 0], weights, count)
    between = ends[:, 0] != ends[:, 1]
    order = np.argsort(ends[between, 0], kind="stable")
    (start, finish), weights = ends[between][order].T, weights[between][order]
    cluster = np.arange(count)
    for _ in range(ROUNDS if len(start) else 0):
        node, target = wanted(start, cluster[finish], weights, cluster, degrees)
        if not len(node):
            break
        goes = lots.random(count)[node] < 0.5
        cluster[node[goes]] = target[goes]
    return cluster


def wanted(
    start: np.ndarray, near: np.ndarray, weights: np.ndarray, cluster: np.ndarray, degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that would gain by moving, and to which cluster: among the clusters near a node the best."""
    count, total = len(cluster), degrees.sum()
    key = start * count + near
    order = np.argsort(key, kind="stable")
    firsts = beginnings(key[order])
    node, target = np.divmod(key[order][firsts], count)
    own = cluster[node] == target
    heavy = np.bincount(cluster, degrees, count)
    gain = np.add.reduceat(weights[order], firsts) - degrees[node] * (heavy[target] - degrees[node] * own) / total
    staying = -degrees * (heavy[cluster] - degrees) / total
    staying[node[own]] = gain[own]
    groups = beginnings(node)
    best = np.repeat(np.maximum.reduceat(gain, groups), np.diff(groups, append=len(node)))
    better = (gain == best) & (gain > staying[node] + LEAST_GAIN)
    return node[better], target[better]


def beginnings(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.diff(values, prepend=-1))
