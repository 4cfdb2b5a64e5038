"""The figures as tables."""

from collections.abc import Sequence
from statistics import median, quantiles

from rich.table import Table

from tests.benchmarks.growth.turns import Times


def build_operation_table(found: dict[str, dict[int, Times]], rounds: int) -> Table:
    sizes = list(next(iter(found.values())))
    table = Table(title=f"{rounds} calls of each arm, in turns; factors are those of medians")
    for column in ("operation", "memories", "raw p50 ms", "HTTP p50 ms", "HTTP p95 ms", "service / raw"):
        table.add_column(column)
    for column in ("raw", "service", "HTTP"):
        table.add_column(f"growth, {column}")
    for name, times in found.items():
        for rows in sizes:
            table.add_row(name if rows == sizes[0] else "", f"{rows:,}", *format_times(times[rows], times[sizes[0]]))
    return table


def format_times(times: Times, smallest: Times) -> Sequence[str]:
    raw, service, http = (median(times[arm]) for arm in ("raw", "service", "http"))
    growth = (median(times[arm]) / median(smallest[arm]) for arm in ("raw", "service", "http"))
    p95 = quantiles(times["http"], n=20)[-1]
    factors = [f"{service / raw:.2f}", *(f"{factor:.2f}" for factor in growth)]
    return [f"{raw:.2f}", f"{http:.2f}", f"{p95:.2f}", *factors]


def build_recall_table(found: dict[int, dict[str, dict[str, float]]], searches: int) -> Table:
    columns = ("memories", "filter keeps", "mean", "minimum", "fewest rows", "p50 ms")
    table = Table(*columns, title=f"recall@10 of vector searches, {searches} for each filter")
    for rows, filters in found.items():
        for name, each in filters.items():
            figures = (f"{each['mean']:.4f}", f"{each['minimum']:.2f}", str(each["fewest"]), f"{each['ms']:.1f}")
            table.add_row(f"{rows:,}" if name == next(iter(filters)) else "", name, *figures)
    return table
