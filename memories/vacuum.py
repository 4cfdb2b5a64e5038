"""Rebuild the index of the vectors after large deletions.

A deleted vector stays in the HNSW index until VACUUM removes it. Thousands of deleted copies of one text refer only to
each other there, so that a search which begins among them finds nothing and scans instead. VACUUM repairs the index by
a search for each remaining vector near a deleted one, which costs more than the rebuild: of 10,000 vectors with 10 %
deleted 14 s of CPU time against 6 s, with 90 % deleted 19 s against 0.3 s.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection

from memories.models import Embedding
from memory_site.core.leases.leases import hold_lease

TABLE = Embedding._meta.db_table
INDEX = "embedding_nearest"
#: From 2 % on the rebuild costs less than VACUUM. At 5 % it costs 12 ms for each deleted vector, as its embedding did.
MIN_DEAD_ROWS, MIN_DEAD_SHARE = 1_000, 0.05
# An open transaction keeps dead rows from being removed, so the next attempt waits.
MIN_INTERVAL = timedelta(minutes=15)
BUSY = "Another process rebuilds the index of the vectors."

# The table and its index, or each partition and its part of the index. A crash or a recovery makes PostgreSQL forget
# how many rows live, which `reltuples` of the last VACUUM or ANALYZE outlives.
SELECT_PARTS_SQL = """
SELECT indrelid::regclass::text, indexrelid::regclass::text,
       greatest(n_live_tup, owner.reltuples::bigint - n_dead_tup), n_dead_tup,
       coalesce(last_vacuum > now() - make_interval(secs => %(interval)s), false)
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid AND pg_class.relkind = 'i'
JOIN pg_class owner ON owner.oid = indrelid
JOIN pg_stat_user_tables ON relid = indrelid
WHERE indexrelid = %(index)s::regclass
   OR indexrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(index)s::regclass)
ORDER BY indexrelid
"""
# What an interrupted REINDEX CONCURRENTLY left: invalid, and yet written to by every insert.
SELECT_LEFTOVER_INDEXES_SQL = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = %s::regclass AND NOT indisvalid AND relname ~ %s
"""
# A parallel build needs shared memory, of which a container has little, and every core. Behind a pooler they would be
# those of another session; there the role has no time limits.
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "max_parallel_maintenance_workers": "0",
    # A server goes on with the build of a client that was killed, for as long as it takes.
    "client_connection_check_interval": "2000",
}
SETTINGS: dict[str, str] = {} if settings.DATABASE_POOLER else LIMITS


@dataclass(frozen=True)
class VectorRows:
    """The rows of the table of vectors, or of some of its partitions, as PostgreSQL's statistics count them: a second
    late, and roughly."""

    live: int
    dead: int

    @property
    def dead_share(self) -> float:
        return self.dead / max(self.live + self.dead, 1)

    @property
    def need_vacuum(self) -> bool:
        return self.dead >= MIN_DEAD_ROWS and self.dead_share >= MIN_DEAD_SHARE


@dataclass(frozen=True)
class Part:
    """The table of vectors with its index, or a partition with its part of the index: each is rebuilt by itself."""

    table: str
    index: str
    rows: VectorRows
    recently_vacuumed: bool

    @property
    def is_due(self) -> bool:
        return not self.recently_vacuumed and (self.rows.need_vacuum or bool(self.list_leftover_indexes()))

    def list_leftover_indexes(self) -> list[str]:
        """Return the names of the invalid indexes that an interrupted rebuild left."""
        with connection.cursor() as cursor:
            cursor.execute(SELECT_LEFTOVER_INDEXES_SQL, [self.table, f"^{self.index}_cc(new|old)[0-9]*$"])
            return [name for (name,) in cursor.fetchall()]

    def rebuild(self) -> None:
        with connection.cursor() as cursor:
            for name in self.list_leftover_indexes():
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            cursor.execute(f"REINDEX INDEX CONCURRENTLY {self.index}")
            cursor.execute(f"VACUUM {self.table}")


def list_parts() -> list[Part]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_PARTS_SQL, {"index": INDEX, "interval": MIN_INTERVAL.total_seconds()})
        return [
            Part(table, index, VectorRows(live, dead), recent) for table, index, live, dead, recent in cursor.fetchall()
        ]


def count_vector_rows(parts: Iterable[Part]) -> VectorRows:
    rows = [part.rows for part in parts]
    return VectorRows(sum(each.live for each in rows), sum(each.dead for each in rows))


def vacuum_vectors(parts: Sequence[Part]) -> VectorRows:
    """Rebuild the index and remove the dead rows, part by part, while searches and writes go on. Return the rows as
    they were.

    Cannot run in a transaction. Raises AlreadyRunning. An interrupted run is completed by the next one.
    """
    with hold_lease(f"vacuum of {TABLE}", BUSY), unlimited_time():
        for part in parts:
            part.rebuild()
    return count_vector_rows(parts)


@contextmanager
def unlimited_time() -> Iterator[None]:
    with connection.cursor() as cursor:
        try:
            for name, value in SETTINGS.items():
                cursor.execute(f"SET {name} = {value}")
            yield
        finally:
            for name in SETTINGS:
                cursor.execute(f"RESET {name}")
