"""Figures of recovery to a moment by the site's own archive, in embedded mode."""

from collections.abc import Iterator
from datetime import datetime

from memory_site.operations.metrics.figures import Figure, Value
from memory_site.operations.pitr.facts import PitrFacts, get_pitr_facts
from memory_site.operations.pitr.wal_report import WalState

ENABLED = Figure("pitr_enabled", "Whether the site archives its log for recovery to a moment: 1, or 0.")
LAST_BASE = Figure("pitr_last_base_timestamp_seconds", "When the newest base backup was written; 0 without one.")
SEGMENTS = Figure(
    "pitr_wal_segments",
    "Segments of the log since the oldest base backup: found in the archive, delayed, uploading, or lost.",
    ("state",),
)
WAL_SIZE = Figure("pitr_wal_bytes", "Size of the log that PostgreSQL keeps: it grows while the archive fails.")
LAST_DRILL = Figure("pitr_last_drill_timestamp_seconds", "When the last drill ran; 0: never.")
DRILL_PASSED = Figure("pitr_last_drill_passed", "Whether the last drill recovered every row: 1, or 0.")
FIGURES = (ENABLED, LAST_BASE, SEGMENTS, WAL_SIZE, LAST_DRILL, DRILL_PASSED)


def read_pitr() -> Iterator[Value]:
    facts = get_pitr_facts()
    yield ENABLED.value(facts.enabled)
    if facts.enabled:
        yield LAST_BASE.value(facts.last_base_at.timestamp() if facts.last_base_at else 0)
        yield WAL_SIZE.value(facts.wal_bytes)
        yield from read_segments(facts)
        yield from read_drill(facts)


def read_segments(facts: PitrFacts) -> Iterator[Value]:
    counts = facts.report.counts if facts.report else {}
    for state in WalState:
        yield SEGMENTS.value(counts.get(state, 0), state.value)


def read_drill(facts: PitrFacts) -> Iterator[Value]:
    drill = facts.last_drill
    yield LAST_DRILL.value(datetime.fromisoformat(drill["at"]).timestamp() if drill else 0)
    if drill:
        yield DRILL_PASSED.value(drill["ok"])
