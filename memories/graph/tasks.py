"""What users' graphs need in the background."""

from celery import shared_task

from memories.graph.relationships import resolve_missed
from memories.users import statistics
from memory_site.core.wakeup import TaskTrigger


@shared_task
def refresh_statistics() -> bool:
    """Sum up the totals and refresh the statistics; whether these were done here. Safe to run twice, in parallel, or
    late."""
    statistics.compact_totals()
    return statistics.refresh_statistics_view()


@shared_task
def join_waiting() -> int:
    """Make the relationships that missed their entity; for how many users. Safe to run twice, in parallel, or late."""
    return resolve_missed()


statistics_trigger = TaskTrigger(refresh_statistics)
