"""The health check of what PostgreSQL itself reports as damaged, or as about to stop."""

from django.db import connection

from memory_site.operations.health.results import CheckResult, HealthStatus
from memory_site.operations.models import MaintenanceReport

# Of all databases: one file system holds them, and the counter of transactions is the server's.
SELECT_FAILURES_SQL = """
SELECT current_setting('data_checksums'), coalesce(sum(checksum_failures), 0)::int, max(checksum_last_failure)
FROM pg_stat_database
"""
SELECT_AGE_SQL = """
SELECT datname, greatest(age(datfrozenxid), mxid_age(datminmxid)) AS age FROM pg_database ORDER BY age DESC LIMIT 1
"""
#: Transactions since the oldest row that is not frozen. PostgreSQL freezes from 200 million on, and stops before 2^31:
#: https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
OLD_TRANSACTIONS, STOPPING_TRANSACTIONS = 1_000_000_000, 2_000_000_000
DAMAGE_ADVICE = "python manage.py maintain --check-pages names them and what mends each"
CHECKSUMS_ADVICE = "stop PostgreSQL, then pg_checksums --enable"


def check_integrity() -> CheckResult:
    """Check that no page failed its checksum, and that transaction ids do not run out."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_FAILURES_SQL)
        checksums, failures, last = cursor.fetchone()
        cursor.execute(SELECT_AGE_SQL)
        database, age = cursor.fetchone()
    if damaged := MaintenanceReport.objects.count_damage(failures, last):
        when = f", the last one at {last:%Y-%m-%d %H:%M} UTC" if last else ""
        return HealthStatus.UNHEALTHY, f"{damaged} damaged pages were read{when}.", DAMAGE_ADVICE
    if age > OLD_TRANSACTIONS:
        status = HealthStatus.UNHEALTHY if age > STOPPING_TRANSACTIONS else HealthStatus.DEGRADED
        return status, f"Database {database} was not frozen for {age:,} transactions; at 2,147,483,648 it stops."
    if checksums != "on":
        return HealthStatus.HEALTHY, "Damaged pages would not be noticed: checksums are off.", CHECKSUMS_ADVICE
    return HealthStatus.HEALTHY, f"No damaged page was read; {age:,} transactions until now are not frozen."
