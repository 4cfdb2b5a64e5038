"""Figures of the server and the database, by which the health score is counted.

A role sees the sessions of its own; with pg_monitor, those of all.
"""

from dataclasses import dataclass

from memory_site.operations.maintenance.findings import fetch
from memory_site.operations.models import MaintenanceReport

#: Transaction ids that PostgreSQL can tell apart: half of 32 bits.
MAX_AGE = 2**31
#: Blocks read since the last reset, from which the share of hits means something.
MIN_BLOCKS = 10_000

SELECT_DATABASE_SQL = """
SELECT blks_hit, blks_read, age(datfrozenxid), mxid_age(datminmxid),
       (SELECT sum(numbackends) FROM pg_stat_database),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int,
       failed.failures, failed.latest, current_setting('data_checksums')::bool
FROM pg_stat_database stats JOIN pg_database ON pg_database.oid = datid
CROSS JOIN (
    SELECT coalesce(sum(checksum_failures), 0)::int AS failures, max(checksum_last_failure) AS latest
    FROM pg_stat_database WHERE datname = current_database() OR datid = 0
) failed
WHERE stats.datname = current_database()
"""
SELECT_OLDEST_SQL = """
SELECT coalesce(max(extract(epoch FROM now() - since)), 0)::float8 FROM (
    SELECT xact_start AS since FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND datname = current_database()
    UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
) open_ones
"""
# WAL that the server keeps for a slot without a reader.
SELECT_SLOTS_SQL = """
SELECT coalesce(sum(CASE WHEN pg_is_in_recovery() THEN 0
                         ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) END), 0)::float8,
       count(*) FILTER (WHERE wal_status = 'lost')
FROM pg_replication_slots WHERE NOT active
"""


@dataclass(frozen=True)
class ServerFigures:
    """`hit_ratio`: share of block reads from the buffers, None before there are enough. `age`: of the oldest row that
    is not frozen, as a share of what PostgreSQL can tell apart. `connections`: share of those available.
    `oldest_transaction`: seconds. `slot_bytes`: WAL kept for inactive slots. `checksum_failures`: None without
    checksums."""

    hit_ratio: float | None
    age: float
    connections: float
    oldest_transaction: float
    slot_bytes: float
    lost_slots: int
    checksum_failures: int | None


def read_server_figures() -> ServerFigures:
    hits, reads, age, multixact_age, used, available, failures, latest, has_checksums = fetch(SELECT_DATABASE_SQL)[0]
    slot_bytes, lost_slots = fetch(SELECT_SLOTS_SQL)[0]
    return ServerFigures(
        hit_ratio=hits / (hits + reads) if hits + reads >= MIN_BLOCKS else None,
        age=max(age, multixact_age) / MAX_AGE,
        connections=float(used) / max(available, 1),
        oldest_transaction=fetch(SELECT_OLDEST_SQL)[0][0],
        slot_bytes=slot_bytes,
        lost_slots=lost_slots,
        checksum_failures=MaintenanceReport.objects.count_damage(failures, latest) if has_checksums else None,
    )
