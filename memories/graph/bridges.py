"""What holds a graph together: connections and nodes without which it would fall apart."""

from collections import defaultdict

from rustworkx import PyGraph, biconnected_components

Cut = tuple[int, ...]


def find_bridges_and_articulation_points(graph: PyGraph) -> tuple[list[Cut], list[Cut]]:
    """The bridges as (separates, one end, other end) and the connectors as (separates, node), the gravest first.

    A bridge is a connection, a connector a node, whose removal separates what hung together (Tarjan, 1972: both
    lie between biconnected components). `separates` is how many nodes would no longer hang together with the largest
    part.
    """
    blocks, blocks_of = defaultdict(set), defaultdict(set)
    for ends, block in biconnected_components(graph).items():
        blocks[block].update(ends)
        for end in ends:
            blocks_of[end].add(block)
    bridges, connectors, seen = [], [], set()
    for root in blocks_of:
        if root not in seen:
            way = dfs_order(root, blocks, blocks_of)
            seen.update(node for node, _ in way)
            for found, kept in zip(find_component_cuts(way, blocks, blocks_of), (bridges, connectors), strict=True):
                kept.extend(found)
    return sorted(bridges, key=by_severity), sorted(connectors, key=by_severity)


def by_severity(cut: Cut) -> Cut:
    return -cut[0], *cut[1:]


def dfs_order(root: int, blocks: dict[int, set[int]], blocks_of: dict[int, set[int]]) -> list[tuple[int, int | None]]:
    """Every node that hangs together with the root, with the block it is reached through, after that block's own."""
    way, waiting = [], [(root, None)]
    while waiting:
        node, through = waiting.pop()
        way.append((node, through))
        for block in blocks_of[node] - {through}:
            waiting.extend((other, block) for other in blocks[block] if other != node)
    return way


def find_component_cuts(way: list[tuple[int, int | None]], blocks: dict[int, set[int]], blocks_of: dict[int, set[int]]):
    """Bridges and connectors of one component. Blocks form a tree: what lies behind each is summed up from its end."""
    behind, bridges, connectors = defaultdict(int), [], []
    for node, through in reversed(way):
        parts = [behind[block] for block in blocks_of[node] if block != through]
        size = 1 + sum(parts)
        rest = len(way) - size
        if rest:
            behind[through] += size
            parts.append(rest)
            if len(blocks[through]) == 2:
                bridges.append((min(size, rest), *sorted(blocks[through])))
        if len(parts) > 1:
            connectors.append((sum(parts) - max(parts), node))
    return bridges, connectors
