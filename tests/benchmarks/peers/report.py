"""The figures as tables."""

from collections.abc import Sequence
from statistics import mean, median, quantiles
from typing import Any

from rich.table import Table

MB = 1024 * 1024


def build_write_table(arms: Sequence[Any], rows: int, singly: int) -> Table:
    table = Table("peer", "rows/s one by one", "rows/s in bulk", "index afterwards s", "database MB")
    table.title = f"{rows:,} rows written, {singly} of them one by one"
    for arm in arms:
        bulk = f"{(rows - singly) / arm.bulk:,.0f}" if arm.process.ready["bulk"] and arm.bulk else "none"
        table.add_row(arm.title, f"{singly / arm.singly:,.0f}", bulk, f"{arm.finish:.1f}", f"{arm.bytes / MB:,.0f}")
    return table


def build_search_table(arms: Sequence[Any], filters: Sequence[str], searches: int) -> Table:
    table = Table("peer", "filter keeps", "rows found", "of", "recall@10", "least", "p50 ms", "p95 ms")
    table.title = f"{searches} searches for each filter, peers in turns"
    for arm in arms:
        for name in filters:
            found, recall, existing = zip(*arm.found[name], strict=True)
            times = arm.times[name]
            table.add_row(
                arm.title if name == filters[0] else "",
                name,
                f"{mean(found):.2f}",
                f"{mean(existing):.0f}",
                f"{mean(recall):.3f}",
                f"{min(recall):.2f}",
                f"{median(times):.1f}",
                f"{quantiles(times, n=20)[-1]:.1f}",
            )
    return table
