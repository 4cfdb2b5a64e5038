"""Positions of memories in a picture of a graph."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

LAYOUT_SEED, ITERATIONS = 7, 300
#: Strength of the attraction of every node to the centre, and to the centre of its cluster.
CENTRE_ATTRACTION, CLUSTER_ATTRACTION = 0.9, 1.6
#: Width of a picture by its height; the least distance of two nodes as a share of the height.
ASPECT_RATIO, MIN_NODE_DISTANCE, OVERLAP_PASSES = 1.6, 0.062, 30
#: Fewer nodes than this do not fill a picture.
MIN_NODES_TO_FILL_PICTURE = 30
EPSILON = 1e-9


@lru_cache(maxsize=16)
def compute_layout(lines: Sequence[tuple[int, int]], clusters: Sequence[int]) -> Sequence[tuple[float, float]]:
    """Return a position from 0 to 1 across and down for each node: connected nodes near each other, no two on the same
    spot. The result is deterministic; 150 nodes take 0.4 s.

    `lines` are the connections, as pairs of nodes, `clusters` the cluster of each node. Fruchterman and Reingold,
    "Graph drawing by force-directed placement" (1991), with an attraction to the centre, without which unconnected
    parts would drift apart.
    """
    if not clusters:
        return ()
    count = len(clusters)
    at = compute_initial_positions(np.asarray(clusters))
    ends, member = np.reshape(lines, (-1, 2)).astype(int), np.asarray(clusters)[:, None] == np.unique(clusters)
    for heat in np.geomspace(0.1, 0.002, ITERATIONS):
        force = compute_repulsion(at, count) + compute_attraction(at, ends, count) - CENTRE_ATTRACTION * at
        force += CLUSTER_ATTRACTION * (member @ ((member.T @ at) / member.sum(0)[:, None]) - at)
        length = np.linalg.norm(force, axis=1, keepdims=True) + EPSILON
        at = at + force / length * np.minimum(length, heat)
    for _ in range(OVERLAP_PASSES):
        at = separate_overlaps(scale_to_unit_square(at) * [ASPECT_RATIO, 1])
    share = min((count / MIN_NODES_TO_FILL_PICTURE) ** 0.5, 1)
    return tuple((x, y) for x, y in (0.5 + (scale_to_unit_square(at) - 0.5) * share).tolist())


def scale_to_unit_square(at: np.ndarray) -> np.ndarray:
    """Scale positions to 0 to 1 in both directions; 0.5 in a direction in which they do not differ."""
    low, high = at.min(0), at.max(0)
    return np.where(high - low > EPSILON, (at - low) / np.maximum(high - low, EPSILON), 0.5)


def separate_overlaps(at: np.ndarray) -> np.ndarray:
    """Move nodes that are too close to each other apart, each by half the missing distance."""
    apart = at[:, None] - at[None]
    distance = np.sqrt(np.square(apart).sum(-1, keepdims=True))
    missing = np.where(distance < MIN_NODE_DISTANCE, (MIN_NODE_DISTANCE - distance) / (distance + EPSILON), 0)
    return at + (apart * missing).sum(1) / 2


def compute_initial_positions(clusters: np.ndarray) -> np.ndarray:
    """Place each cluster in a direction of its own, the golden angle from the previous one."""
    angle = clusters * np.pi * (3 - 5**0.5)
    jitter = np.random.default_rng(LAYOUT_SEED).normal(0, 0.15, (len(clusters), 2))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(clusters / 10)[:, None] + jitter


def compute_repulsion(at: np.ndarray, count: int) -> np.ndarray:
    """Return the force between all nodes, which decreases with the distance."""
    apart = at[:, None] - at[None]
    return (apart / (np.square(apart).sum(-1, keepdims=True) + 1e-4)).sum(1) / count


def compute_attraction(at: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """Return the force between connected nodes, which increases with the distance."""
    apart = at[ends[:, 1]] - at[ends[:, 0]]
    force = apart * np.linalg.norm(apart, axis=1, keepdims=True) * count**0.5
    total = np.zeros_like(at)
    np.add.at(total, ends[:, 0], force)
    np.add.at(total, ends[:, 1], -force)
    return total
