"""Cards about memories: by type, over time, by user and by source."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from memories.console_urls import get_user_page_url
from memories.counts import StepCount, count_memories_by, count_memories_over_time, list_top_users
from memory_site.core.admin.charts import Cell, Chart, build_bars, draw_chart
from memory_site.core.admin.formatting import replace_underscores, truncate
from memory_site.operations.dashboard.content import Content, Figure, Scope
from memory_site.operations.dashboard.links import link_created, link_list, link_memories

MAX_BARS, MAX_NAME_LENGTH = 10, 48
#: Types with a colour of their own, by their number of memories; the others are drawn as one.
MAX_SERIES, OTHER_TYPES = 7, "other types"
NOTHING_YET = "Nothing is stored yet. Memories come by the API, an import or an ingestion, and appear here at once."


def build_types(scope: Scope) -> Content:
    counts = count_memories_by("memory_type", scope.namespace_id)
    if not counts:
        return Content(empty=NOTHING_YET)
    rows = [
        {"label": replace_underscores(kind), "value": count, "url": link_memories(scope, memory_type=kind)}
        for kind, count in counts.items()
    ]
    total = Figure("memories", sum(counts.values()), link_memories(scope))
    return Content(figures=[total], bars=build_bars(rows[:MAX_BARS]), note=describe_more(len(rows), "types"))


def build_sources(scope: Scope) -> Content:
    counts = count_memories_by("source_system", scope.namespace_id)
    rows = [
        {"label": truncate(source, MAX_NAME_LENGTH), "value": count, "url": link_memories(scope, source_system=source)}
        for source, count in list(counts.items())[:MAX_BARS]
    ]
    return Content(bars=build_bars(rows), note=describe_more(len(counts), "sources"), empty="" if rows else NOTHING_YET)


def build_users(scope: Scope) -> Content:
    users = list_top_users(scope.namespace_id, MAX_BARS)
    if not users:
        return Content(empty="No memory names a user yet. One that is stored with a user_id is counted here.")
    rows = [
        {
            "label": truncate(user.user_id, MAX_NAME_LENGTH),
            "value": user.memories,
            "url": link_list("memories_memory", namespace=user.namespace_id, user_id=user.user_id),
            "page": get_user_page_url(user.namespace_id, user.user_id),
            "detail": "" if scope.namespace_id else user.namespace,
        }
        for user in users
    ]
    total = Figure("users", users[0].users, link_list("graph_usertotal", **scope.filters))
    return Content(figures=[total], bars=build_bars(rows))


def describe_more(rows: int, what: str) -> str:
    return f"The {MAX_BARS} largest of {rows} {what}." if rows > MAX_BARS else ""


# Over time


def build_growth(scope: Scope) -> Content:
    """Draw a stacked bar for each step, by type."""
    starts = scope.period.list_starts()
    counts = count_memories_over_time(scope.namespace_id, starts[0], scope.period.step)
    table = tabulate(counts)
    series = rank_types(table)
    total = sum(count.memories for count in counts)
    figures = [Figure(f"in the last {scope.period.title}", total, link_created(scope, starts[0]))]
    if not total:
        return Content(figures=figures, empty=f"No memory was created in the last {scope.period.title}.")
    return Content(
        figures=figures,
        chart=draw_growth(scope, starts, table, series),
        note="By the time that a memory is of, in UTC. What was deleted since is not drawn.",
    )


def tabulate(counts: Sequence[StepCount]) -> dict[str, dict[datetime, int]]:
    """Return the numbers by type and start."""
    table: dict[str, dict[datetime, int]] = defaultdict(dict)
    for start, kind, memories in counts:
        table[kind][start] = memories
    return table


def rank_types(table: Mapping[str, Mapping[datetime, int]]) -> dict[str, list[str]]:
    """Return the series of the chart by name, the largest first, and the types of each."""
    kinds = sorted(table, key=lambda kind: (-sum(table[kind].values()), kind))
    series = {replace_underscores(kind): [kind] for kind in kinds[:MAX_SERIES]}
    return series | ({OTHER_TYPES: kinds[MAX_SERIES:]} if kinds[MAX_SERIES:] else {})


def draw_growth(
    scope: Scope,
    starts: Sequence[datetime],
    table: Mapping[str, Mapping[datetime, int]],
    series: Mapping[str, list[str]],
) -> Chart:
    sums = {name: [sum(table[kind].get(at, 0) for kind in kinds) for at in starts] for name, kinds in series.items()}
    row_format = "%Y-%m-%d %H:%M" if scope.period.name == "24h" else "%Y-%m-%d"
    return draw_chart(
        f"Memories created in the last {scope.period.title}, by type: {describe_sums(sums)}.",
        [f"{at:{scope.period.label}}" for at in starts],
        sums,
        [
            (f"{at:{row_format}}", cells)
            for at, cells in zip(starts, list_cells(scope, starts, series, sums), strict=True)
        ],
    )


def describe_sums(sums: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {sum(numbers):,}" for name, numbers in sums.items())


def list_cells(
    scope: Scope, starts: Sequence[datetime], series: Mapping[str, list[str]], sums: Mapping[str, Sequence[int]]
) -> Iterator[list[Cell]]:
    """Yield for each step the cell of each series, and that of all."""
    for index, start in enumerate(starts):
        until = start + scope.period.step
        cells = [
            Cell(sums[name][index], link_created(scope, start, until, memory_type=kinds))
            for name, kinds in series.items()
        ]
        total = [Cell(sum(cell.value for cell in cells), link_created(scope, start, until))]
        yield cells + (total if len(series) > 1 else [])
