"""Bars as SVG: places across in percent and sizes down in pixels, so that text is as large on a phone as on a desk."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memory_site.core.admin.formatting import format_number, truncate

ROW_HEIGHT, BAR_HEIGHT, MAX_BAR_NAME_LENGTH = 46, 12, 38
#: Of standing bars: the tallest, and the room above and below.
MAX_COLUMN_HEIGHT, TOP_MARGIN, BOTTOM_MARGIN = 150, 20, 22
#: Of the whole width, in percent: what a bar is at least, so that it can be seen, and what is left between two.
MIN_PART_WIDTH, COLUMN_GAP = 0.6, 1.5
SVG_TEMPLATE = '<svg class="bars" role="group" aria-label="{}" width="100%" height="{}"><title>{}</title>{}</svg>'
HORIZONTAL_BAR_TEMPLATE = """<a href="{}"><title>{}</title><text y="{}">{}</text><text class="bars-count" x="100%" y="{}">{}</text></a>
<rect class="bars-track" y="{}" width="100%" height="{}" rx="3"/>{}"""
BAR_PART_TEMPLATE = (
    '<a href="{}"><title>{}</title><rect class="bars-{}" x="{}%" y="{}" width="{}%" height="{}" rx="3"/></a>'
)
COLUMN_TEMPLATE = """<a href="{}"><title>{}</title><rect class="bars-{}" x="{}%" y="{}" width="{}%" height="{}" rx="3"/>
<text class="bars-over" x="{}%" y="{}">{}</text></a>"""
TICK_LABEL_TEMPLATE = '<text class="bars-edge bars-{}" x="{}%" y="{}">{}</text>'
BASELINE_TEMPLATE = '<line class="bars-ground" x1="0" x2="100%" y1="{}" y2="{}"/>'


class BarPart(NamedTuple):
    """Some of what a bar stands for: what it is called, its class of colour, how many, and where they are listed."""

    name: str
    colour: str
    count: int
    address: str


class Bar(NamedTuple):
    name: str
    address: str
    parts: Sequence[BarPart]

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)

    @property
    def words(self) -> str:
        each = ", ".join(f"{part.name} {format_number(part.count)}" for part in self.parts)
        return f"{self.name}: {format_number(self.total)} ({each})"


def draw_horizontal_bars(title: str, bars: Sequence[Bar]) -> SafeString:
    """A line of text for each, and below it the bar, in its parts."""
    most = max((bar.total for bar in bars), default=1)
    drawn = (draw_bar_row(bar, place * ROW_HEIGHT, most) for place, bar in enumerate(bars))
    return format_html(
        SVG_TEMPLATE, title, len(bars) * ROW_HEIGHT, title, format_html_join("", "{}", ((each,) for each in drawn))
    )


def draw_bar_row(bar: Bar, top: int, most: int) -> SafeString:
    name, text, under = truncate(bar.name, MAX_BAR_NAME_LENGTH), top + 15, top + 24
    parts = format_html_join("", BAR_PART_TEMPLATE, place_bar_parts(bar, under, most))
    return format_html(
        HORIZONTAL_BAR_TEMPLATE,
        bar.address,
        bar.words,
        text,
        name,
        text,
        format_number(bar.total),
        under,
        BAR_HEIGHT,
        parts,
    )


def place_bar_parts(bar: Bar, top: int, most: int) -> Iterable[tuple]:
    """Side by side, as wide as they are many."""
    x = 0.0
    for part in bar.parts:
        if part.count:
            width = max(round(100 * part.count / most, 2), MIN_PART_WIDTH)
            x = min(x, 100 - width)
            yield (
                part.address,
                f"{bar.name}, {part.name}: {format_number(part.count)}",
                part.colour,
                x,
                top,
                width,
                BAR_HEIGHT,
            )
            x = round(x + width, 2)


def draw_columns(title: str, parts: Sequence[BarPart], edges: Sequence[str]) -> SafeString:
    """Side by side on one ground, how many above each, and below the places where one ends and the next begins."""
    most, wide, ground = max(part.count for part in parts) or 1, 100 / len(parts), TOP_MARGIN + MAX_COLUMN_HEIGHT
    columns = format_html_join(
        "", COLUMN_TEMPLATE, (place_column(part, n * wide, wide, most) for n, part in enumerate(parts))
    )
    return format_html(
        SVG_TEMPLATE,
        title,
        ground + BOTTOM_MARGIN,
        title,
        format_html(
            "{}{}{}", columns, format_html(BASELINE_TEMPLATE, ground, ground), draw_tick_labels(edges, ground + 16)
        ),
    )


def place_column(part: BarPart, x: float, wide: float, most: int) -> tuple:
    count = format_number(part.count)
    height = max(round(MAX_COLUMN_HEIGHT * part.count / most), 2) if part.count else 0
    top, middle = TOP_MARGIN + MAX_COLUMN_HEIGHT - height, round(x + wide / 2, 2)
    place = round(x + COLUMN_GAP / 2, 2), top, round(wide - COLUMN_GAP, 2), height
    return part.address, f"{part.name}: {count}", part.colour, *place, middle, top - 5, count


def draw_tick_labels(edges: Sequence[str], y: int) -> SafeString:
    last = len(edges) - 1
    anchors = {0: "first", last: "last"}
    places = ((anchors.get(n, "inner"), round(100 * n / last, 2), y, edge) for n, edge in enumerate(edges))
    return format_html_join("", TICK_LABEL_TEMPLATE, places)
