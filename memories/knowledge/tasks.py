"""What knowledge needs in the background. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.knowledge import clusters, retention
from memories.models import Memory


@shared_task
def settle_clusters() -> int:
    """Make clusters that are missing; how many were looked at."""
    return clusters.create_due_clusters()


@shared_task
def remove_empty_clusters() -> int:
    """Remove clusters that nothing belongs to; how many."""
    return clusters.remove_empty_clusters()


@shared_task
def forget_outdated() -> int:
    """Forget what is outdated, in every namespace; how many memories."""
    return retention.forget_outdated(Memory.objects.all())
