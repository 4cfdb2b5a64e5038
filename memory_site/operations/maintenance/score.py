"""The health score of the database, 0 to 100: a sum of parts, each with its weight, value, points and what improves it.

A part has all its points up to one value, none from another one on, and in between as many as lie proportionally
between. A part that cannot be measured is left out, and the others count as the whole. A critical part without points
limits the score: a damaged database is not good because its buffers are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memory_site.operations.maintenance.bloat import Bloat
from memory_site.operations.maintenance.findings import MB, format_size
from memory_site.operations.maintenance.indexes import Index
from memory_site.operations.maintenance.server import ServerFigures
from memory_site.operations.maintenance.tables import MIN_DEAD_ROWS, Table

#: What the score is at most while a critical part has no points.
MAX_CRITICAL_SCORE = 40
GB = 1024 * MB
#: The share of all bytes that is bloat means nothing in a database that is smaller.
MIN_DATABASE_SIZE = 10 * MB


@dataclass(frozen=True)
class Part:
    """A part of the score. `value` is what was measured, in words; points are 0 to `weight`, None if unmeasured."""

    name: str
    weight: int
    value: str
    points: float | None
    improve: str
    critical: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Score:
    """The score, and the parts that it is the sum of."""

    total: int
    parts: Sequence[Part]


def compute_score(
    server: ServerFigures, tables: Sequence[Table], bloat: Sequence[Bloat], invalid: Sequence[Index]
) -> Score:
    parts = [*score_server(server), *score_content(tables, bloat, invalid)]
    return Score(add_up(parts), parts)


def add_up(parts: Iterable[Part]) -> int:
    """Return the percentage of points of all known parts, at most MAX_CRITICAL_SCORE if a critical one has none."""
    known = [part for part in parts if part.points is not None]
    total = round(100 * sum(part.points or 0 for part in known) / max(sum(part.weight for part in known), 1))
    is_limited = any(part.critical and not part.points for part in known)
    return min(total, MAX_CRITICAL_SCORE) if is_limited else total


def grade(weight: int, value: float | None, full: float, none: float) -> float | None:
    """Return all points at `full` and beyond, 0 at `none` and beyond, and those between in proportion."""
    if value is None:
        return None
    return round(weight * min(max((none - value) / (none - full), 0.0), 1.0), 1)


def score_server(server: ServerFigures) -> list[Part]:
    failures, hits = server.checksum_failures, server.hit_ratio
    return [
        Part(
            *("checksums", 15, "checksums are off" if failures is None else f"{failures} failures"),
            points=7.5 if failures is None else (0.0 if failures else 15.0),
            improve="pg_checksums --enable" if failures is None else "python manage.py maintain --check-pages",
            critical=True,
        ),
        Part(
            *("wraparound", 15, f"{server.age:.1%} of the transaction ids", grade(15, server.age, 0.15, 0.75)),
            improve="python manage.py maintain",
            critical=True,
        ),
        Part(
            *("cache", 10, "too few reads yet" if hits is None else f"{hits:.1%} of reads from the buffers"),
            points=grade(10, hits, 0.99, 0.90),
            improve="a quarter of the memory as shared_buffers; embedded: restart after the data grew",
        ),
        Part(
            *("connections", 10, f"{server.connections:.0%} in use", grade(10, server.connections, 0.7, 0.95)),
            improve="lower PG_POOL_SIZE or WEB_WORKERS, or put PgBouncer between",
        ),
        Part(
            *("oldest transaction", 10, f"{server.oldest_transaction:,.0f} s"),
            points=grade(10, server.oldest_transaction, 300, 3600),
            improve="end the session: SELECT pg_terminate_backend(pid); it keeps dead rows from being removed",
        ),
        Part(
            *("replication slots", 5, describe_slots(server)),
            points=0.0 if server.lost_slots else grade(5, server.slot_bytes, 1 * GB, 10 * GB),
            improve="SELECT pg_drop_replication_slot(name), unless its reader comes back",
        ),
    ]


def describe_slots(server: ServerFigures) -> str:
    kept = f"{format_size(server.slot_bytes)} of WAL kept for inactive ones"
    return f"{server.lost_slots} lost, {kept}" if server.lost_slots else kept


def score_content(tables: Sequence[Table], bloat: Sequence[Bloat], invalid: Sequence[Index]) -> list[Part]:
    """Return the parts about tables and indexes. Small tables do not count."""
    rows = sum(table.live + table.dead for table in tables)
    dead = sum(table.dead for table in tables if table.dead >= MIN_DEAD_ROWS)
    share = dead / max(rows, 1)
    size, wasted = sum(each.size for each in bloat), sum(each.wasted for each in bloat)
    wasted_share = wasted / size if size >= MIN_DATABASE_SIZE else 0.0
    unknown = [table.name for table in tables if table.never_analyzed and table.live]
    return [
        Part(
            *("dead rows", 10, f"{share:.1%} of {rows:,}", grade(10, share, 0.05, 0.30)),
            improve="python manage.py maintain",
        ),
        Part(
            *("bloat", 10, f"{wasted_share:.0%} of {format_size(size)}", grade(10, wasted_share, 0.30, 0.70)),
            improve="the commands that python manage.py maintain names",
        ),
        Part(
            *("invalid indexes", 10, f"{len(invalid)}", 0.0 if invalid else 10.0),
            improve="python manage.py maintain",
        ),
        Part(
            *("planner statistics", 5, f"{len(unknown)} tables were never analyzed", grade(5, len(unknown), 0, 5)),
            improve="python manage.py maintain",
        ),
    ]
