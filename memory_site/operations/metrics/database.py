"""Figures of PostgreSQL itself: its size, connections, dead vectors, and the archive of its log."""

from collections.abc import Iterator

from django.db import connection

from memories.vacuum import count_vector_rows, list_parts
from memory_site.operations.metrics.figures import Figure, Value

SIZE = Figure("database_size_bytes", "Size of the database.")
CONNECTIONS = Figure("database_connections", "Connections to the database, by state.", ("state",))
MAX_CONNECTIONS = Figure("database_connections_max", "Connections that PostgreSQL allows.")
OLDEST_TRANSACTION = Figure(
    "database_oldest_transaction_seconds",
    "Age of the oldest transaction. Vacuum removes nothing that it may still see.",
)
VECTORS = Figure(
    "vectors", "Vectors by state, as PostgreSQL estimates them. `dead` ones are deleted, not removed.", ("state",)
)
ARCHIVE_GAP = Figure("wal_archive_gap_bytes", "Write-ahead log that is not archived yet. Only with an archive.")
ARCHIVED = Figure(
    "wal_archive_last_timestamp_seconds", "When a segment of the log was last archived. Only with an archive."
)
ARCHIVE_FAILURES = Figure("wal_archive_failures", "Failed attempts to archive since the statistics were reset.")
FIGURES = (
    *(SIZE, CONNECTIONS, MAX_CONNECTIONS, OLDEST_TRANSACTION, VECTORS),
    *(ARCHIVE_GAP, ARCHIVED, ARCHIVE_FAILURES),
)

STATES = {"active": "active", "idle": "idle", "idle in transaction": "idle_in_transaction"}
SELECT_SERVER_SQL = """
SELECT pg_database_size(current_database()), current_setting('max_connections')::int,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()), 0)
"""
SELECT_CONNECTIONS_SQL = """
SELECT coalesce(state, ''), count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1
"""
# The name of a segment is its position: eight hexadecimal digits each of timeline, of 4 GiB, and of the segment there.
SELECT_ARCHIVE_SQL = """
SELECT extract(epoch FROM last_archived_time), failed_count,
       pg_current_wal_lsn() - '0/0'::pg_lsn - CASE WHEN last_archived_wal ~ '^[0-9A-F]{24}' THEN
           ('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint * 4294967296
           + (('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint + 1)
             * (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')
       END
FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
"""


def read_database() -> Iterator[Value]:
    [(size, max_connections, oldest)] = fetch(SELECT_SERVER_SQL)
    yield SIZE.value(size)
    yield MAX_CONNECTIONS.value(max_connections)
    yield OLDEST_TRANSACTION.value(oldest)
    yield from read_connections()
    rows = count_vector_rows(list_parts())
    yield VECTORS.value(rows.live, "live")
    yield VECTORS.value(rows.dead, "dead")
    yield from read_archive()


def read_connections() -> Iterator[Value]:
    numbers = dict.fromkeys((*STATES.values(), "other"), 0)
    for state, number in fetch(SELECT_CONNECTIONS_SQL):
        numbers[STATES.get(state, "other")] += number
    for name, number in numbers.items():
        yield CONNECTIONS.value(number, name)


def read_archive() -> Iterator[Value]:
    """Read what PostgreSQL says of its archive, whichever program keeps it. Nothing without one."""
    for archived_at, failures, gap in fetch(SELECT_ARCHIVE_SQL):
        yield ARCHIVE_FAILURES.value(failures)
        if archived_at is not None:
            yield ARCHIVED.value(archived_at)
        if gap is not None:
            yield ARCHIVE_GAP.value(max(gap, 0))


def fetch(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
