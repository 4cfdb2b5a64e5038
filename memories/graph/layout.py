"""Where memories stand in a picture of a graph."""

from collections.abc import Sequence

import numpy as np

SEED, ROUNDS = 7, 300
#: How strongly everything is drawn to the middle, and members of a cluster to theirs.
TO_THE_MIDDLE, TO_THE_CLUSTER = 0.9, 1.6
#: How wide a picture is for its height, and how near two may stand, as a share of the height.
RATIO, NEAR, PARTINGS = 1.6, 0.062, 30
#: Fewer nodes than this do not fill a picture.
FILLING = 30
LEAST = 1e-9


def places(count: int, lines: Sequence[tuple[int, int]], clusters: Sequence[int]) -> list[tuple[float, float]]:
    """A place from 0 to 1 across and down for each node: connected ones near each other, no two on the same spot.

    Fruchterman and Reingold, "Graph drawing by force-directed placement" (1991), with a pull to the middle, without
    which parts that are not connected would drift apart. Always the same answer.
    """
    if not count:
        return []
    at = beginning(np.asarray(clusters))
    ends, member = np.reshape(lines, (-1, 2)).astype(int), np.asarray(clusters)[:, None] == np.unique(clusters)
    for heat in np.geomspace(0.1, 0.002, ROUNDS):
        force = pushed(at, count) + pulled(at, ends, count) - TO_THE_MIDDLE * at
        force += TO_THE_CLUSTER * (member @ ((member.T @ at) / member.sum(0)[:, None]) - at)
        length = np.linalg.norm(force, axis=1, keepdims=True) + LEAST
        at = at + force / length * np.minimum(length, heat)
    for _ in range(PARTINGS):
        at = parted(filling(at) * [RATIO, 1])
    share = min((count / FILLING) ** 0.5, 1)
    return [(x, y) for x, y in (0.5 + (filling(at) - 0.5) * share).tolist()]


def filling(at: np.ndarray) -> np.ndarray:
    """The same places, from 0 to 1 in both directions; in the middle of one in which they do not differ."""
    low, high = at.min(0), at.max(0)
    return np.where(high - low > LEAST, (at - low) / np.maximum(high - low, LEAST), 0.5)


def parted(at: np.ndarray) -> np.ndarray:
    """What stands too near to something else goes half the way that is missing."""
    apart = at[:, None] - at[None]
    distance = np.sqrt(np.square(apart).sum(-1, keepdims=True))
    missing = np.where(distance < NEAR, (NEAR - distance) / (distance + LEAST), 0)
    return at + (apart * missing).sum(1) / 2


def beginning(clusters: np.ndarray) -> np.ndarray:
    """Each cluster in a direction of its own, the golden angle from the one before."""
    angle = clusters * np.pi * (3 - 5**0.5)
    jitter = np.random.default_rng(SEED).normal(0, 0.15, (len(clusters), 2))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.sqrt(clusters / 10)[:, None] + jitter


def pushed(at: np.ndarray, count: int) -> np.ndarray:
    """Everything pushes everything else away, the nearer the more."""
    apart = at[:, None] - at[None]
    return (apart / (np.square(apart).sum(-1, keepdims=True) + 1e-4)).sum(1) / count


def pulled(at: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """What is connected pulls, the farther the more."""
    apart = at[ends[:, 1]] - at[ends[:, 0]]
    force = apart * np.linalg.norm(apart, axis=1, keepdims=True) * count**0.5
    total = np.zeros_like(at)
    np.add.at(total, ends[:, 0], force)
    np.add.at(total, ends[:, 1], -force)
    return total
