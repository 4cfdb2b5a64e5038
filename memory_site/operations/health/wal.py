"""The health check of the write-ahead log: what keeps it, and whether it is archived."""

from typing import Any

from django.conf import settings
from django.db import connection

from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus

# A slot whose reader is gone keeps all WAL until the disk is full.
SELECT_SLOTS_SQL = """
SELECT slot_name, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), active
FROM pg_replication_slots
WHERE NOT pg_is_in_recovery() AND restart_lsn IS NOT NULL
  AND (wal_status <> 'reserved'
       OR NOT active AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %(most)s)
ORDER BY slot_name
"""
SELECT_ARCHIVER_SQL = """
SELECT current_setting('archive_mode') <> 'off' AS archives, failed_count, last_archived_wal, last_failed_wal,
       last_failed_time > coalesce(last_archived_time, '-infinity') AS failing,
       extract(epoch FROM statement_timestamp() - last_archived_time)::int AS seconds
FROM pg_stat_archiver
"""
MAX_SLOT_BYTES = 2**30
FIND_REASON = "python manage.py pitr status" if settings.EMBEDDED else "see archive_command and the log of PostgreSQL"


def check_wal() -> CheckResult:
    """Check that no abandoned slot keeps WAL, and that the archive command succeeds where there is one."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_SLOTS_SQL, {"most": MAX_SLOT_BYTES})
        if slots := cursor.fetchall():
            kept = ", ".join(f"{name} keeps {size}" for name, size, _ in slots[:MAX_SAMPLED_ROWS])
            drop = f"SELECT pg_drop_replication_slot('{slots[0][0]}'), if its replica does not come back"
            return HealthStatus.DEGRADED, f"WAL is kept for replication slots: {kept}.", drop
        cursor.execute(SELECT_ARCHIVER_SQL)
        return check_archiver(dict(zip((column.name for column in cursor.description), cursor.fetchone(), strict=True)))


def check_archiver(archiver: dict[str, Any]) -> CheckResult:
    """Check the archive command of any server, by PostgreSQL's own statistics."""
    if not archiver["archives"]:
        return HealthStatus.HEALTHY, "No slot keeps it, and it is not archived."
    if archiver["failing"]:
        found = f"Archiving of {archiver['last_failed_wal']} fails, {archiver['failed_count']:,} times so far."
        return HealthStatus.DEGRADED, f"{found} PostgreSQL keeps all WAL until the disk is full.", FIND_REASON
    if archiver["seconds"] is None:
        return HealthStatus.HEALTHY, "Nothing was archived yet."
    return HealthStatus.HEALTHY, f"{archiver['last_archived_wal']} was archived {archiver['seconds']:,} s ago."
