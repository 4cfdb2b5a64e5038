"""A memory and its relationships as SVG: what leads to it on the left, what it leads to on the right.

Each relationship has a row of its own, so that no label covers another one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memories.graph.svg import ARC_SVG, GRAPH_SVG, NODE_SVG, WIDTH, round_to_tenths
from memory_site.core.admin.formatting import truncate

ROW_HEIGHT, MARGIN = 46.0, 34.0
CENTRE_X, LEFT_X, RIGHT_X, LABEL_GAP = WIDTH / 2, 340.0, 660.0, 16.0
CENTRE_RADIUS, NODE_RADIUS = 14.0, 8.0
MAX_LABEL_LENGTH, MAX_CENTRE_LABEL_LENGTH = 42, 26
#: Rows of one side.
MAX_ROWS = 12
LABEL_SVG = '<text class="graph-{}" x="{}" y="{}">{}<tspan class="graph-type" x="{}" dy="15">{}</tspan></text>'
CENTRE_LABEL_SVG = '<text x="{}" y="{}">{}</text>'


@dataclass(frozen=True)
class Neighbour:
    """The other end of a relationship. `url` is its page, `type` that of the relationship, `strength` from 0 to 1."""

    url: str
    name: str
    type: str
    strength: float


def draw_neighbourhood(name: str, url: str, incoming: Sequence[Neighbour], outgoing: Sequence[Neighbour]) -> SafeString:
    """Draw the first MAX_ROWS relationships of each direction around the memory of this name."""
    incoming, outgoing = incoming[:MAX_ROWS], outgoing[:MAX_ROWS]
    height = 2 * MARGIN + ROW_HEIGHT * max(len(incoming), len(outgoing), 1)
    places = [*place(incoming, LEFT_X, height), *place(outgoing, RIGHT_X, height)]
    centre = CENTRE_X, height / 2
    nodes = [(url, 0, *centre, CENTRE_RADIUS, name), *(format_node(*each) for each in places)]
    return format_html(
        GRAPH_SVG,
        WIDTH,
        round_to_tenths(height),
        f"{truncate(name, MAX_LABEL_LENGTH)} and {len(places)} of its relationships",
        "",
        format_html_join("", ARC_SVG, (format_line(name, centre, *each) for each in places)),
        format_html_join("", NODE_SVG, nodes),
        format_html_join("", LABEL_SVG, (format_label(*each) for each in places)) + format_centre_label(name, height),
    )


def place(neighbours: Sequence[Neighbour], x: float, height: float) -> Iterator[tuple[Neighbour, float, float]]:
    """Return each with its place, the rows around the middle of the picture."""
    top = (height - ROW_HEIGHT * len(neighbours)) / 2
    for number, neighbour in enumerate(neighbours):
        yield neighbour, x, round_to_tenths(top + ROW_HEIGHT * (number + 0.5))


def format_node(neighbour: Neighbour, x: float, y: float) -> tuple:
    """Return the arguments of NODE_SVG."""
    return neighbour.url, 1 if x == LEFT_X else 2, x, y, NODE_RADIUS, neighbour.name


def format_line(name: str, centre: tuple[float, float], neighbour: Neighbour, x: float, y: float) -> tuple:
    """Return the arguments of ARC_SVG: from the left to the right, bent to arrive level."""
    ends = (neighbour.name, name) if x == LEFT_X else (name, neighbour.name)
    title = f"{ends[0]} {neighbour.type.replace('_', ' ')} {ends[1]}"
    width = round_to_tenths(1 + 1.2 * neighbour.strength)
    return neighbour.type, x, y, (x + centre[0]) / 2, y, *centre, width, title


def format_label(neighbour: Neighbour, x: float, y: float) -> tuple:
    """Return the arguments of LABEL_SVG: beside the circle, away from the middle."""
    is_left = x == LEFT_X
    at = x - LABEL_GAP if is_left else x + LABEL_GAP
    kind = neighbour.type.replace("_", " ")
    text = truncate(neighbour.name, MAX_LABEL_LENGTH)
    return "label-end" if is_left else "label-start", at, y, text, at, f"{kind} →" if is_left else f"→ {kind}"


def format_centre_label(name: str, height: float) -> SafeString:
    y = round_to_tenths(height / 2 - CENTRE_RADIUS - 6)
    return format_html(CENTRE_LABEL_SVG, CENTRE_X, y, truncate(name, MAX_CENTRE_LABEL_LENGTH))
