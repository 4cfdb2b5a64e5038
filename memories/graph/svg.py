"""A picture of a user's graph as SVG: memories as circles, relationships as lines, everything with its name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.graph.analysis import Central, Shape
from memories.graph.summary import Memories, name_of
from memory_site.core.admin.formatting import shortened

WIDTH, HEIGHT, MARGIN = 1000, 625, 48
SMALLEST, LARGEST = 5.0, 22.0
#: Clusters beyond these share the last colour.
COLOURS = 10
LABELS, LABEL_LENGTH, CHARACTER, LINE = 24, 26, 7, 16
#: Lines bend a little, so that two between the same memories stay apart.
BEND = 0.12

SVG = """<svg class="graph-picture" viewBox="0 0 {} {}" role="img" aria-label="{}">
<g class="graph-grounds">{}</g><g class="graph-lines">{}</g><g>{}</g><g class="graph-labels">{}</g></svg>"""
GROUND = '<path class="graph-colour-{}" d="{}Z"/>'
ARC = '<path class="graph-line graph-{}" d="M{} {}Q{} {} {} {}" stroke-width="{}"><title>{}</title></path>'
NODE = '<a href="{}"><circle class="graph-node graph-colour-{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle></a>'
LABEL = '<text x="{}" y="{}">{}</text>'


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Spot:
    """A memory in the picture."""

    central: Central
    memory: dict[str, Any]
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return name_of(self.memory)

    @property
    def colour(self) -> int:
        return colour(self.central.cluster)

    @property
    def box(self) -> Box:
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius


def picture(shape: Shape, memories: Memories, relationships: Iterable[dict[str, Any]]) -> SafeString:
    """Of the most central memories, as many as the shape holds, and these relationships among them: {from_memory_id,
    to_memory_id, type, strength}. What is no longer among the memories is left out."""
    spots = {each.central.id: each for each in spots_of(shape, memories)}
    between = [
        (spots[row["from_memory_id"]], spots[row["to_memory_id"]], row)
        for row in relationships
        if spots.keys() >= {row["from_memory_id"], row["to_memory_id"]}
    ]
    return format_html(
        SVG,
        WIDTH,
        HEIGHT,
        f"{len(spots)} memories and {len(between)} relationships",
        grounds(spots.values()),
        format_html_join("", ARC, (arc(*each) for each in between)),
        format_html_join("", NODE, (node(spot) for spot in reversed(spots.values()))),
        format_html_join("", LABEL, labels([*spots.values()])),
    )


def spots_of(shape: Shape, memories: Memories) -> Iterable[Spot]:
    most = max((each.score for each in shape.central), default=1)
    for each, (x, y) in zip(shape.central, shape.places, strict=True):
        if each.id in memories:
            at = MARGIN + x * (WIDTH - 2 * MARGIN), MARGIN + y * (HEIGHT - 2 * MARGIN)
            yield Spot(each, memories[each.id], *map(tenths, (*at, radius(each, most))))


def radius(central: Central, most: float) -> float:
    """So that areas, not widths, compare."""
    return SMALLEST + (LARGEST - SMALLEST) * (central.score / most) ** 0.5


def tenths(length: float) -> float:
    return round(length, 1)


def colour(cluster: int) -> int:
    return min(cluster, COLOURS - 1)


def node(spot: Spot) -> tuple:
    page = reverse("admin:memories_memory_change", args=[spot.central.id])
    words = f"{spot.name}\n{spot.memory['memory_type']} · connected with {spot.central.degree}"
    return page, spot.colour, spot.x, spot.y, spot.radius, words


def arc(start: Spot, finish: Spot, row: dict[str, Any]) -> tuple:
    middle = (start.x + finish.x) / 2, (start.y + finish.y) / 2
    aside = (finish.y - start.y) * BEND, (start.x - finish.x) * BEND
    words = f"{start.name} {row['type'].replace('_', ' ')} {finish.name}"
    thick = tenths(1 + 1.2 * row["strength"])
    through = tenths(middle[0] + aside[0]), tenths(middle[1] + aside[1])
    return row["type"], start.x, start.y, *through, finish.x, finish.y, thick, words


def grounds(spots: Iterable[Spot]) -> SafeString:
    """A soft ground behind each cluster that has a colour of its own."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for spot in spots:
        if spot.colour < COLOURS - 1:
            groups.setdefault(spot.colour, []).append((spot.x, spot.y))
    outlines = ((number, "L".join(f"{x} {y}" for x, y in hull(points))) for number, points in groups.items())
    return format_html_join("", GROUND, ((number, f"M{outline}") for number, outline in outlines))


def hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
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


def labels(spots: Sequence[Spot]) -> Iterable[tuple[float, float, str]]:
    """Names below their circles: of the first of each cluster, and of others where they hide nothing."""
    heads = {each.colour: each for each in reversed(spots)}
    taken: list[Box] = []
    for spot in [*reversed(heads.values()), *spots[:LABELS]]:
        text = shortened(spot.name, LABEL_LENGTH)
        half, top = len(text) * CHARACTER / 2, spot.y + spot.radius + 2
        x = min(max(spot.x, half), WIDTH - half)
        box = x - half, top, x + half, top + LINE
        hides = taken if heads[spot.colour] is spot else [*taken, *(each.box for each in spots)]
        if not any(overlap(box, other) for other in hides):
            taken.append(box)
            yield tenths(x), tenths(top + LINE - 4), text


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
