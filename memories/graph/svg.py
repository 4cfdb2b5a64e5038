"""A user's graph as SVG: memories are circles, relationships are arcs, both with a title."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.graph.analysis import AnalysisResult, CentralMemory
from memories.graph.summary import MemoriesById, get_memory_name
from memory_site.core.admin.formatting import truncate

WIDTH, HEIGHT, MARGIN = 1000, 625, 48
MIN_RADIUS, MAX_RADIUS = 5.0, 22.0
#: The smaller clusters share the last colour.
CLUSTER_COLOURS = 10
MAX_LABELS, MAX_NODE_LABEL_LENGTH, CHARACTER_WIDTH, LINE_HEIGHT = 24, 26, 7, 16
#: Arcs are bent, so that two between the same memories do not coincide.
ARC_CURVATURE = 0.12

GRAPH_SVG = """<svg class="graph-picture" viewBox="0 0 {} {}" role="group" aria-label="{}">
<g class="graph-grounds">{}</g><g class="graph-lines">{}</g><g>{}</g><g class="graph-labels">{}</g></svg>"""
CLUSTER_AREA_SVG = '<path class="graph-colour-{}" d="{}Z"/>'
ARC_SVG = '<path class="graph-line graph-{}" d="M{} {}Q{} {} {} {}" stroke-width="{}"><title>{}</title></path>'
NODE_SVG = (
    '<a href="{}"><circle class="graph-node graph-colour-{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle></a>'
)
LABEL_SVG = '<text x="{}" y="{}">{}</text>'


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class NodePosition:
    """A circle of the picture, in its coordinates."""

    central: CentralMemory
    memory: dict[str, Any]
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return get_memory_name(self.memory)

    @property
    def colour(self) -> int:
        return get_cluster_colour(self.central.cluster)

    @property
    def box(self) -> Box:
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius


def draw_graph(analysis: AnalysisResult, memories: MemoriesById, relationships: Iterable[dict[str, Any]]) -> SafeString:
    """Draw the central memories of the analysis that are in `memories`, and these relationships among them.

    A relationship is {from_memory_id, to_memory_id, type, strength}.
    """
    nodes = {each.central.id: each for each in layout_nodes(analysis, memories)}
    arcs = [
        (nodes[row["from_memory_id"]], nodes[row["to_memory_id"]], row)
        for row in relationships
        if nodes.keys() >= {row["from_memory_id"], row["to_memory_id"]}
    ]
    return format_html(
        GRAPH_SVG,
        WIDTH,
        HEIGHT,
        f"{len(nodes)} memories and {len(arcs)} relationships",
        draw_cluster_areas(nodes.values()),
        format_html_join("", ARC_SVG, (format_arc(*each) for each in arcs)),
        format_html_join("", NODE_SVG, (format_node(node) for node in reversed(nodes.values()))),
        format_html_join("", LABEL_SVG, place_labels([*nodes.values()])),
    )


def layout_nodes(analysis: AnalysisResult, memories: MemoriesById) -> Iterable[NodePosition]:
    max_score = max((each.score for each in analysis.central), default=1)
    for each, (x, y) in zip(analysis.central, analysis.layout, strict=True):
        if each.id in memories:
            at = MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (HEIGHT - 2 * MARGIN)
            yield NodePosition(each, memories[each.id], *map(round_to_tenths, (*at, compute_radius(each, max_score))))


def compute_radius(central: CentralMemory, max_score: float) -> float:
    """Return a radius by the square root of the score, so that areas compare, not widths."""
    return MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * (central.score / max_score) ** 0.5


def round_to_tenths(length: float) -> float:
    return round(length, 1)


def get_cluster_colour(cluster: int) -> int:
    return min(cluster, CLUSTER_COLOURS - 1)


def format_node(node: NodePosition) -> tuple:
    """Return the arguments of NODE_SVG."""
    url = reverse("admin:memories_memory_change", args=[node.central.id])
    title = f"{node.name}\n{node.memory['memory_type']} · {node.central.degree} connections"
    return url, node.colour, node.x, node.y, node.radius, title


def format_arc(start: NodePosition, finish: NodePosition, row: dict[str, Any]) -> tuple:
    """Return the arguments of ARC_SVG."""
    middle = (start.x + finish.x) / 2, (start.y + finish.y) / 2
    offset = (finish.y - start.y) * ARC_CURVATURE, (start.x - finish.x) * ARC_CURVATURE
    title = f"{start.name} {row['type'].replace('_', ' ')} {finish.name}"
    width = round_to_tenths(1 + 1.2 * row["strength"])
    control = round_to_tenths(middle[0] + offset[0]), round_to_tenths(middle[1] + offset[1])
    return row["type"], start.x, start.y, *control, finish.x, finish.y, width, title


def draw_cluster_areas(nodes: Iterable[NodePosition]) -> SafeString:
    """Draw the convex hull of each cluster that has a colour of its own."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for node in nodes:
        if node.colour < CLUSTER_COLOURS - 1:
            groups.setdefault(node.colour, []).append((node.x, node.y))
    outlines = ((number, "L".join(f"{x} {y}" for x, y in convex_hull(points))) for number, points in groups.items())
    return format_html_join("", CLUSTER_AREA_SVG, ((number, f"M{outline}") for number, outline in outlines))


def convex_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the outermost points in order (Andrew's monotone chain, 1979)."""

    def half(ordered: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for point in ordered:
            while len(hull) > 1 and not turns_left(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        return hull[:-1]

    return half(sorted(points)) + half(sorted(points, reverse=True)) or list(points)


def turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def place_labels(nodes: Sequence[NodePosition]) -> Iterable[tuple[float, float, str]]:
    """Place names below circles: of the first node of each cluster, and of other nodes where they cover nothing."""
    first_nodes = {each.colour: each for each in reversed(nodes)}
    labels: list[Box] = []
    for node in [*reversed(first_nodes.values()), *nodes[:MAX_LABELS]]:
        text = truncate(node.name, MAX_NODE_LABEL_LENGTH)
        half, top = len(text) * CHARACTER_WIDTH / 2, node.y + node.radius + 2
        x = min(max(node.x, half), WIDTH - half)
        box = x - half, top, x + half, top + LINE_HEIGHT
        obstacles = labels if first_nodes[node.colour] is node else [*labels, *(each.box for each in nodes)]
        if not any(boxes_overlap(box, other) for other in obstacles):
            labels.append(box)
            yield round_to_tenths(x), round_to_tenths(top + LINE_HEIGHT - 4), text


def boxes_overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
