"""A picture of a user's graph as SVG: memories as circles, relationships as lines, everything with its name."""

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
#: Clusters beyond these share the last colour.
CLUSTER_COLOURS = 10
MAX_LABELS, MAX_NODE_LABEL_LENGTH, CHARACTER_WIDTH, LINE_HEIGHT = 24, 26, 7, 16
#: Lines bend a little, so that two between the same memories stay apart.
ARC_CURVATURE = 0.12

GRAPH_SVG = """<svg class="graph-picture" viewBox="0 0 {} {}" role="img" aria-label="{}">
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
    """A memory in the picture."""

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


def draw_graph(shape: AnalysisResult, memories: MemoriesById, relationships: Iterable[dict[str, Any]]) -> SafeString:
    """Of the most central memories, as many as the shape holds, and these relationships among them: {from_memory_id,
    to_memory_id, type, strength}. What is no longer among the memories is left out."""
    spots = {each.central.id: each for each in layout_nodes(shape, memories)}
    between = [
        (spots[row["from_memory_id"]], spots[row["to_memory_id"]], row)
        for row in relationships
        if spots.keys() >= {row["from_memory_id"], row["to_memory_id"]}
    ]
    return format_html(
        GRAPH_SVG,
        WIDTH,
        HEIGHT,
        f"{len(spots)} memories and {len(between)} relationships",
        draw_cluster_areas(spots.values()),
        format_html_join("", ARC_SVG, (format_arc(*each) for each in between)),
        format_html_join("", NODE_SVG, (format_node(spot) for spot in reversed(spots.values()))),
        format_html_join("", LABEL_SVG, place_labels([*spots.values()])),
    )


def layout_nodes(shape: AnalysisResult, memories: MemoriesById) -> Iterable[NodePosition]:
    most = max((each.score for each in shape.central), default=1)
    for each, (x, y) in zip(shape.central, shape.layout, strict=True):
        if each.id in memories:
            at = MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (HEIGHT - 2 * MARGIN)
            yield NodePosition(each, memories[each.id], *map(round_to_tenths, (*at, compute_radius(each, most))))


def compute_radius(central: CentralMemory, most: float) -> float:
    """So that areas, not widths, compare."""
    return MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * (central.score / most) ** 0.5


def round_to_tenths(length: float) -> float:
    return round(length, 1)


def get_cluster_colour(cluster: int) -> int:
    return min(cluster, CLUSTER_COLOURS - 1)


def format_node(spot: NodePosition) -> tuple:
    page = reverse("admin:memories_memory_change", args=[spot.central.id])
    words = f"{spot.name}\n{spot.memory['memory_type']} · connected with {spot.central.degree}"
    return page, spot.colour, spot.x, spot.y, spot.radius, words


def format_arc(start: NodePosition, finish: NodePosition, row: dict[str, Any]) -> tuple:
    middle = (start.x + finish.x) / 2, (start.y + finish.y) / 2
    aside = (finish.y - start.y) * ARC_CURVATURE, (start.x - finish.x) * ARC_CURVATURE
    words = f"{start.name} {row['type'].replace('_', ' ')} {finish.name}"
    thick = round_to_tenths(1 + 1.2 * row["strength"])
    through = round_to_tenths(middle[0] + aside[0]), round_to_tenths(middle[1] + aside[1])
    return row["type"], start.x, start.y, *through, finish.x, finish.y, thick, words


def draw_cluster_areas(spots: Iterable[NodePosition]) -> SafeString:
    """A soft ground behind each cluster that has a colour of its own."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for spot in spots:
        if spot.colour < CLUSTER_COLOURS - 1:
            groups.setdefault(spot.colour, []).append((spot.x, spot.y))
    outlines = ((number, "L".join(f"{x} {y}" for x, y in convex_hull(points))) for number, points in groups.items())
    return format_html_join("", CLUSTER_AREA_SVG, ((number, f"M{outline}") for number, outline in outlines))


def convex_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The outermost points, once around."""

    def half(ordered: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        kept: list[tuple[float, float]] = []
        for point in ordered:
            while len(kept) > 1 and not turns_left(*kept[-2:], point):
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return half(sorted(points)) + half(sorted(points, reverse=True)) or list(points)


def turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])


def place_labels(spots: Sequence[NodePosition]) -> Iterable[tuple[float, float, str]]:
    """Names below their circles: of the first of each cluster, and of others where they hide nothing."""
    heads = {each.colour: each for each in reversed(spots)}
    taken: list[Box] = []
    for spot in [*reversed(heads.values()), *spots[:MAX_LABELS]]:
        text = truncate(spot.name, MAX_NODE_LABEL_LENGTH)
        half, top = len(text) * CHARACTER_WIDTH / 2, spot.y + spot.radius + 2
        x = min(max(spot.x, half), WIDTH - half)
        box = x - half, top, x + half, top + LINE_HEIGHT
        hides = taken if heads[spot.colour] is spot else [*taken, *(each.box for each in spots)]
        if not any(boxes_overlap(box, other) for other in hides):
            taken.append(box)
            yield round_to_tenths(x), round_to_tenths(top + LINE_HEIGHT - 4), text


def boxes_overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
