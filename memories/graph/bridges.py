"""Bridges and articulation points: connections and nodes whose removal splits a component of a graph."""

from collections import defaultdict

from rustworkx import PyGraph, biconnected_components

#: (separates, one end, other end) of a bridge, (separates, node) of an articulation point.
Cut = tuple[int, ...]
Blocks = dict[int, set[int]]


def find_bridges_and_articulation_points(graph: PyGraph) -> tuple[list[Cut], list[Cut]]:
    """Return the bridges and the articulation points, those that separate most nodes first.

    Both lie between biconnected components (Tarjan, 1972). `separates` is the number of nodes that the removal would
    disconnect from the largest remaining part.
    """
    blocks: Blocks = defaultdict(set)
    blocks_of: Blocks = defaultdict(set)
    for ends, block in biconnected_components(graph).items():
        blocks[block].update(ends)
        for end in ends:
            blocks_of[end].add(block)
    bridges: list[Cut] = []
    points: list[Cut] = []
    seen: set[int] = set()
    for root in blocks_of:
        if root not in seen:
            order = dfs_order(root, blocks, blocks_of)
            seen.update(node for node, _ in order)
            component_bridges, component_points = find_component_cuts(order, blocks, blocks_of)
            bridges += component_bridges
            points += component_points
    return sorted(bridges, key=by_severity), sorted(points, key=by_severity)


def by_severity(cut: Cut) -> Cut:
    return -cut[0], *cut[1:]


def dfs_order(root: int, blocks: Blocks, blocks_of: Blocks) -> list[tuple[int, int | None]]:
    """Return the nodes of the root's component, each after the node it is reached from and with the block between."""
    order: list[tuple[int, int | None]] = []
    stack: list[tuple[int, int | None]] = [(root, None)]
    while stack:
        node, through = stack.pop()
        order.append((node, through))
        for block in blocks_of[node] - {through}:
            stack.extend((other, block) for other in blocks[block] if other != node)
    return order


def find_component_cuts(
    order: list[tuple[int, int | None]], blocks: Blocks, blocks_of: Blocks
) -> tuple[list[Cut], list[Cut]]:
    """Return the bridges and articulation points of one component, given in the order of `dfs_order`.

    Blocks form a tree. `behind` counts the nodes behind each block; in reverse order, its subtree is complete.
    """
    behind: dict[int | None, int] = defaultdict(int)
    bridges: list[Cut] = []
    points: list[Cut] = []
    for node, through in reversed(order):
        parts = [behind[block] for block in blocks_of[node] if block != through]
        size = 1 + sum(parts)
        rest = len(order) - size
        if rest and through is not None:
            behind[through] += size
            parts.append(rest)
            if len(blocks[through]) == 2:
                bridges.append((min(size, rest), *sorted(blocks[through])))
        if len(parts) > 1:
            points.append((sum(parts) - max(parts), node))
    return bridges, points
