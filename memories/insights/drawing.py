"""Bars as SVG: places across in percent and sizes down in pixels, so that text is as large on a phone as on a desk."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memory_site.core.admin.formatting import grouped, shortened

ROW, BAR, NAME_LENGTH = 46, 12, 38
#: Of standing bars: the tallest, and the room above and below.
TALLEST, ABOVE, BELOW = 150, 20, 22
#: Of the whole width, in percent: what a bar is at least, so that it can be seen, and what is left between two.
LEAST, GAP = 0.6, 1.5
SVG = '<svg class="bars" role="group" aria-label="{}" width="100%" height="{}"><title>{}</title>{}</svg>'
LYING = """<a href="{}"><title>{}</title><text y="{}">{}</text><text class="bars-count" x="100%" y="{}">{}</text></a>
<rect class="bars-track" y="{}" width="100%" height="{}" rx="3"/>{}"""
PART = '<a href="{}"><title>{}</title><rect class="bars-{}" x="{}%" y="{}" width="{}%" height="{}" rx="3"/></a>'
STANDING = """<a href="{}"><title>{}</title><rect class="bars-{}" x="{}%" y="{}" width="{}%" height="{}" rx="3"/>
<text class="bars-over" x="{}%" y="{}">{}</text></a>"""
EDGE = '<text class="bars-edge bars-{}" x="{}%" y="{}">{}</text>'
GROUND = '<line class="bars-ground" x1="0" x2="100%" y1="{}" y2="{}"/>'


class Part(NamedTuple):
    """Some of what a bar stands for: what it is called, its class of colour, how many, and where they are listed."""

    name: str
    colour: str
    count: int
    address: str


class Bar(NamedTuple):
    name: str
    address: str
    parts: Sequence[Part]

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)

    @property
    def words(self) -> str:
        each = ", ".join(f"{part.name} {grouped(part.count)}" for part in self.parts)
        return f"{self.name}: {grouped(self.total)} ({each})"


def lying(title: str, bars: Sequence[Bar]) -> SafeString:
    """A line of text for each, and below it the bar, in its parts."""
    most = max((bar.total for bar in bars), default=1)
    drawn = (row(bar, place * ROW, most) for place, bar in enumerate(bars))
    return format_html(SVG, title, len(bars) * ROW, title, format_html_join("", "{}", ((each,) for each in drawn)))


def row(bar: Bar, top: int, most: int) -> SafeString:
    name, text, under = shortened(bar.name, NAME_LENGTH), top + 15, top + 24
    parts = format_html_join("", PART, pieces(bar, under, most))
    return format_html(LYING, bar.address, bar.words, text, name, text, grouped(bar.total), under, BAR, parts)


def pieces(bar: Bar, top: int, most: int) -> Iterable[tuple]:
    """Side by side, as wide as they are many."""
    x = 0.0
    for part in bar.parts:
        if part.count:
            width = max(round(100 * part.count / most, 2), LEAST)
            x = min(x, 100 - width)
            yield part.address, f"{bar.name}, {part.name}: {grouped(part.count)}", part.colour, x, top, width, BAR
            x = round(x + width, 2)


def standing(title: str, parts: Sequence[Part], edges: Sequence[str]) -> SafeString:
    """Side by side on one ground, how many above each, and below the places where one ends and the next begins."""
    most, wide, ground = max(part.count for part in parts) or 1, 100 / len(parts), ABOVE + TALLEST
    columns = format_html_join("", STANDING, (column(part, n * wide, wide, most) for n, part in enumerate(parts)))
    return format_html(
        SVG,
        title,
        ground + BELOW,
        title,
        format_html("{}{}{}", columns, format_html(GROUND, ground, ground), beneath(edges, ground + 16)),
    )


def column(part: Part, x: float, wide: float, most: int) -> tuple:
    count = grouped(part.count)
    height = max(round(TALLEST * part.count / most), 2) if part.count else 0
    top, middle = ABOVE + TALLEST - height, round(x + wide / 2, 2)
    place = round(x + GAP / 2, 2), top, round(wide - GAP, 2), height
    return part.address, f"{part.name}: {count}", part.colour, *place, middle, top - 5, count


def beneath(edges: Sequence[str], y: int) -> SafeString:
    last = len(edges) - 1
    anchors = {0: "first", last: "last"}
    places = ((anchors.get(n, "inner"), round(100 * n / last, 2), y, edge) for n, edge in enumerate(edges))
    return format_html_join("", EDGE, places)
