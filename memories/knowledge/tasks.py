"""Background tasks of knowledge. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.knowledge import clusters, retention
from memories.knowledge.models import Cluster, DueCluster
from sessions_app.models import Namespace
from sessions_app.namespaces import find_namespaces, for_each_namespace


@shared_task
def settle_clusters() -> int:
    """Create missing clusters. Return how many were checked."""
    return for_each_namespace(clusters.create_due_clusters, find_namespaces(DueCluster.objects.all()))


@shared_task
def remove_empty_clusters() -> int:
    """Delete clusters without members. Return their number."""
    namespaces = find_namespaces(Cluster.objects.filter(is_explicit=False))
    return for_each_namespace(clusters.remove_empty_clusters, namespaces)


@shared_task
def forget_outdated() -> int:
    """Delete outdated memories in the namespaces that have switched this on. Return their number."""
    namespaces = Namespace.objects.filter(forgets_outdated=True).values_list("pk", flat=True)
    return for_each_namespace(retention.forget_outdated, namespaces)
