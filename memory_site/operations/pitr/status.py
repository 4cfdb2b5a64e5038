"""The rows of `pitr status`."""

from collections.abc import Iterator
from typing import Any

from memory_site.embedded.postgres import MB
from memory_site.operations.pitr.facts import Archiver, PitrFacts
from memory_site.operations.pitr.repository import Base
from memory_site.operations.pitr.wal_report import WalReport
from memory_site.operations.pitr.windows import format_time

Row = dict[str, Any]


def build_status_rows(facts: PitrFacts) -> list[Row]:
    """Return rows of `item`, `state` and `detail`."""
    if not facts.enabled:
        return [build_row("archiving", "off", "`manage.py pitr enable` switches it on.")]
    return [
        describe_archiver(facts.archiver),
        build_row("waiting", facts.waiting_segments, f"segments; PostgreSQL's log has {facts.wal_bytes // MB:,} MB"),
        build_row("timeline", facts.timeline, ""),
        *describe_report(facts.report, facts.gap_reasons),
        *map(describe_base, facts.bases),
        *describe_windows(facts),
        build_row("next base", "due" if facts.base_due else "not due", facts.base_due or ""),
        describe_drill(facts.last_drill),
    ]


def build_row(item: str, state: object, detail: str) -> Row:
    return {"item": item, "state": state, "detail": detail}


def describe_archiver(archiver: Archiver | None) -> Row:
    """Return the row about archiving."""
    if archiver is None:
        return build_row("archiving", "unknown", "PostgreSQL does not answer.")
    if not archiver.archiving:
        return build_row("archiving", "off", "PostgreSQL was not restarted since: `manage.py pitr enable` does it.")
    last = f"last archived {format_time(archiver.last_archived_at)}" if archiver.last_archived_at else "nothing yet"
    if archiver.failing:
        return build_row("archiving", "failing", f"{archiver.last_failed_wal} cannot be archived; {last}")
    return build_row("archiving", "on", last)


def describe_report(report: WalReport | None, reasons: dict[str, str]) -> Iterator[Row]:
    if report is None:
        return
    for state, count in report.counts.items():
        yield build_row("log", state.value, f"{count:,} segments")
    for first, last in report.gaps:
        names = str(first) if first == last else f"{first} to {last}"
        reason = reasons.get(first.name)
        yield build_row("gap", "lost", f"{names}: {reason}" if reason else names)


def describe_base(base: Base) -> Row:
    size = f"{base.manifest['size'] // MB:,} MB"
    return build_row("base", base.name, f"{size}; foreign: {base.foreign}" if base.foreign else size)


def describe_windows(facts: PitrFacts) -> Iterator[Row]:
    """Say which times can be recovered; windows that overlap are one."""
    merged: list[list] = []
    for window in sorted(facts.windows, key=lambda window: window.since):
        if merged and (merged[-1][1] is None or window.since <= merged[-1][1]):
            later = None if None in (merged[-1][1], window.until) else max(merged[-1][1], window.until)
            merged[-1][1] = later
        else:
            merged.append([window.since, window.until])
    for since, until in merged:
        yield build_row("recoverable", format_time(since), f"to {format_time(until) if until else 'now'}")
    if not merged:
        yield build_row("recoverable", "nothing", "`manage.py pitr base` makes a base backup.")


def describe_drill(drill: dict[str, Any] | None) -> Row:
    if drill is None:
        return build_row("drill", "never", "`manage.py pitr drill` runs one.")
    return build_row("drill", "passed" if drill["ok"] else "failed", f"{drill['at']}: {drill['message']}")
