"""Background tasks of knowledge. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.knowledge import clusters, retention


@shared_task
def settle_clusters() -> int:
    """Create missing clusters. Return how many were checked."""
    return clusters.create_due_clusters()


@shared_task
def remove_empty_clusters() -> int:
    """Delete clusters without members. Return their number."""
    return clusters.remove_empty_clusters()


@shared_task
def forget_outdated() -> int:
    """Delete outdated memories in the namespaces that have switched this on. Return their number."""
    return retention.forget_outdated(retention.get_nightly_memories())
