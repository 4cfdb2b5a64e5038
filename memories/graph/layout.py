"""Where memories stand in a picture of a graph."""

from collections.abc import Sequence

import numpy as np

LAYOUT_SEED, ITERATIONS = 7, 300
#: How strongly everything is drawn to the middle, and members of a cluster to theirs.
CENTRE_ATTRACTION, CLUSTER_ATTRACTION = 0.9, 1.6
#: How wide a picture is for its height, and how near two may stand, as a share of the height.
ASPECT_RATIO, MIN_NODE_DISTANCE, OVERLAP_PASSES = 1.6, 0.062, 30
#: Fewer nodes than this do not fill a picture.
MIN_NODES_TO_FILL_PICTURE = 30
EPSILON = 1e-9


def compute_layout(count: int, lines: Sequence[tuple[int, int]], clusters: Sequence[int]) -> list[tuple[float, float]]:
    """A place from 0 to 1 across and down for each node: connected ones near each other, no two on the same spot.

    Fruchterman and Reingold, "Graph drawing by force-directed placement" (1991), with a pull to the middle, without
    which parts that are not connected would drift apart. Always the same answer.
    """
    if not count:
        return []
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
    return [(x, y) for x, y in (0.5 + (scale_to_unit_square(at) - 0.5) * share).tolist()]


def scale_to_unit_square(at: np.ndarray) -> np.ndarray:
    """The same places, from 0 to 1 in both directions; in the middle of one in which they do not differ."""
    low, high = at.min(0), at.max(0)
    return np.where(high - low > EPSILON, (at - low) / np.maximum(high - low, EPSILON), 0.5)


def separate_overlaps(at: np.ndarray) -> np.ndarray:
    """What stands too near to something else goes half the way that is missing."""
    apart = at[:, None] - at[None]
    distance = np.sqrt(np.square(apart).sum(-1, keepdims=True))
    missing = np.where(distance < MIN_NODE_DISTANCE, (MIN_NODE_DISTANCE - distance) / (distance + EPSILON), 0)
    return at + (apart * missing).sum(1) / 2


def compute_initial_positions(clusters: np.ndarray) -> np.ndarray:
    """Each cluster in a direction of its own, the golden angle from the one before."""
    angle = clusters * np.pi * (3 - 5**0.5)
    jitter = np.random.default_rng(LAYOUT_SEED).normal(0, 0.15, (len(clusters), 2))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(clusters / 10)[:, None] + jitter


def compute_repulsion(at: np.ndarray, count: int) -> np.ndarray:
    """Everything pushes everything else away, the nearer the more."""
    apart = at[:, None] - at[None]
    return (apart / (np.square(apart).sum(-1, keepdims=True) + 1e-4)).sum(1) / count


def compute_attraction(at: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """What is connected pulls, the farther the more."""
    apart = at[ends[:, 1]] - at[ends[:, 0]]
    force = apart * np.linalg.norm(apart, axis=1, keepdims=True) * count**0.5
    total = np.zeros_like(at)
    np.add.at(total, ends[:, 0], force)
    np.add.at(total, ends[:, 1], -force)
    return total
