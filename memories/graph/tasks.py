"""Background tasks of relationships and users. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.graph.relationships import resolve_missed
from memories.users.statistics import compact_totals, refresh_statistics_view
from memory_site.core.wakeup import TaskTrigger


@shared_task
def refresh_statistics() -> bool:
    """Compact the totals and refresh the statistics. Return False if another process is refreshing them."""
    compact_totals()
    return refresh_statistics_view()


@shared_task
def join_waiting() -> int:
    """Resolve pending relationships that were stored at the same moment as their entity. Return for how many users."""
    return resolve_missed()


statistics_trigger = TaskTrigger(refresh_statistics)
