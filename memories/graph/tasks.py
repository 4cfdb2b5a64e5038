"""Background tasks of relationships and users. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.graph.models import PendingRelationship
from memories.graph.relationships import resolve_missed
from memories.users.statistics import compact_totals, refresh_statistics_view, select_scattered_totals
from memory_site.core.wakeup import TaskTrigger
from sessions_app.namespaces import find_namespaces, for_each_namespace


@shared_task
def refresh_statistics() -> bool:
    """Compact the totals and refresh the statistics. Return False if another process is refreshing them."""
    try:
        for_each_namespace(compact_totals, find_namespaces(select_scattered_totals()))
    finally:
        refreshed = refresh_statistics_view()
    return refreshed


@shared_task
def join_waiting() -> int:
    """Resolve pending relationships that were stored at the same moment as their entity. Return for how many users."""
    return for_each_namespace(resolve_missed, find_namespaces(PendingRelationship.objects.all()))


statistics_trigger = TaskTrigger(refresh_statistics)
