"""Bars and charts of the console's pages: numbers whose rows are a click away."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Variables of the style sheet.
SERIES_COLOURS = tuple(f"--series-{number}" for number in range(1, 9))
TICKS = {"color": "#788292", "precision": 0}
#: Of the theme's bar chart: bars of one step stand on each other.
CHART_OPTIONS = json.dumps(
    {
        "animation": False,
        "maintainAspectRatio": False,
        "maxBarThickness": 28,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {"legend": {"display": False}},
        "scales": {
            "x": {"stacked": True, "border": {"width": 0}, "grid": {"display": False}, "ticks": TICKS},
            "y": {"stacked": True, "border": {"width": 0}, "beginAtZero": True, "grid": {}, "ticks": TICKS},
        },
    }
)


class Bar(NamedTuple):
    """A row of a bar chart: its name may lead to a page, its number leads to the rows."""

    label: str
    value: int
    url: str
    percent: int
    page: str = ""
    detail: str = ""
    unit: str = ""


class Cell(NamedTuple):
    """A number of a chart's table, and the address of its rows."""

    value: int
    url: str


class Chart(NamedTuple):
    """A bar chart as the theme takes it, and the same numbers as a table: headers, then a name and cells for each row.

    `summary` says in a sentence what is drawn, for readers who do not see it.
    """

    data: str
    summary: str
    headers: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    legend: Sequence[tuple[str, str]] = ()  # names of series, and the variables of their colours
    options: str = CHART_OPTIONS


def build_bars(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return bars of {label, value, url} and perhaps {page, detail}, as long as their share of the longest."""
    longest = max((row["value"] for row in rows), default=1)
    return [Bar(percent=math.ceil(100 * row["value"] / longest), **row) for row in rows]


def draw_chart(
    summary: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    first_header: str = "from",
    colours: Sequence[str] = SERIES_COLOURS,
) -> Chart:
    """Return a stacked bar for each label. `series`: the numbers of each colour; `rows`: the table, without empty rows.

    With several series the last cell of a row is their sum.
    """
    variables = dict(zip(series, colours, strict=False))
    datasets = [
        {"label": name, "data": list(numbers), "backgroundColor": f"var({variables[name]})"}
        for name, numbers in series.items()
    ]
    several = len(series) > 1
    return Chart(
        json.dumps({"labels": list(labels), "datasets": datasets}),
        summary,
        [first_header, *series, *(["all"] if several else [])],
        [(name, cells) for name, cells in rows if any(cell.value for cell in cells)],
        list(variables.items()) if several else [],
    )
