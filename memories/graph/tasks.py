"""What users' graphs need in the background."""

from celery import shared_task

from memories.graph import totals
from memory_site.bell import Bell


@shared_task
def refresh_statistics() -> bool:
    """Sum up the totals and refresh the statistics; whether these were done here. Safe to run twice, in parallel, or
    late."""
    totals.compact()
    return totals.refresh()


bell = Bell(refresh_statistics)
