"""Totals of users, which triggers maintain, and statistics of users as of their last refresh."""

from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet, Sum

from memories.graph.models import UserStatistics, UserTotal
from memory_site.core.db.locks import advisory_xact_lock, bounded_transaction, try_advisory_xact_lock
from memory_site.core.db.retry import retry_on_deadlock

# One statement replaces a user's rows by their sum: a concurrent reader sees the old rows or the new one.
COMPACT_TOTALS_SQL = """
WITH old AS (
    DELETE FROM graph_usertotal WHERE namespace_id = %(namespace)s AND user_id IN (
        SELECT user_id FROM graph_usertotal WHERE namespace_id = %(namespace)s GROUP BY user_id
        HAVING count(*) > 1 OR (sum(memories) = 0 AND sum(relationships) = 0)
    )
    RETURNING user_id, memories, relationships
)
INSERT INTO graph_usertotal (namespace_id, user_id, memories, relationships)
SELECT %(namespace)s, user_id, sum(memories), sum(relationships) FROM old
GROUP BY user_id HAVING sum(memories) <> 0 OR sum(relationships) <> 0
"""
# Without it the second of two would wait for the first one's rows and then not see the sum that replaced them.
TOTALS_LOCK, STATISTICS_LOCK = "user totals {}", "user statistics"
REFRESH_STATISTICS_SQL = "REFRESH MATERIALIZED VIEW CONCURRENTLY graph_userstatistics"
UNKNOWN_USER = "Nothing is known of this user."
#: The keys of UserTotalOut, and the columns of `sum_by_user`.
TOTAL_COLUMNS = {"user_id": "user_id", "memories": "memory_total", "relationships": "relationship_total"}
STATISTICS_COLUMNS = ("memories", "relationships", "entities", "types", "first_at", "latest_at", "refreshed_at")


@retry_on_deadlock
def compact_totals(namespace_id: int) -> int:
    """Replace the totals of each user of a namespace by their sum. Return how many rows were inserted."""
    with bounded_transaction(), connection.cursor() as cursor:
        advisory_xact_lock(TOTALS_LOCK.format(namespace_id))
        cursor.execute(COMPACT_TOTALS_SQL, {"namespace": namespace_id})
        return cursor.rowcount


def select_scattered_totals() -> QuerySet:
    """Select the totals of users that have several rows, or a sum of zero."""
    users = UserTotal.objects.values("namespace_id", "user_id")
    sums = users.annotate(rows=Count("*"), memory_sum=Sum("memories"), relationship_sum=Sum("relationships"))
    return sums.filter(Q(rows__gt=1) | Q(memory_sum=0, relationship_sum=0))


def refresh_statistics_view() -> bool:
    """Refresh the view without blocking readers. Return False if another process is refreshing it."""
    with transaction.atomic(), connection.cursor() as cursor:
        locked = try_advisory_xact_lock(STATISTICS_LOCK)
        if locked:
            cursor.execute(REFRESH_STATISTICS_SQL)
    return locked


def get_totals(namespace_id: int, user_id: str) -> dict[str, Any] | None:
    """Return {user_id, memories, relationships}, or None for a user without memories."""
    rows = UserTotal.objects.filter(namespace=namespace_id, user_id=user_id)
    row = rows.sum_by_user(namespace_id=namespace_id).first()
    return row and total_out(row)


def total_out(row: dict[str, Any]) -> dict[str, Any]:
    """Return UserTotalOut."""
    return {name: row[column] for name, column in TOTAL_COLUMNS.items()}


def get_statistics(namespace_id: int, user_id: str) -> dict[str, Any] | None:
    """Return UserStatisticsOut, or None for a user who is newer than the last refresh."""
    return UserStatistics.objects.filter(namespace_id=namespace_id, user_id=user_id).values(*STATISTICS_COLUMNS).first()
