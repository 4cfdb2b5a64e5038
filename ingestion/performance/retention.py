"""Measurements are deleted when they are older than PERFORMANCE_RETENTION_DAYS."""

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from ingestion.models import PerformanceMetric, PerformanceMetricQuerySet
from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock

DELETE_BATCH_SIZE = 10_000


def find_old_measurements(age: timedelta | None = None) -> PerformanceMetricQuerySet:
    """Return those of every namespace that are older than the age, by default that of the setting."""
    return PerformanceMetric.objects.filter(timestamp__lt=Now() - (age or get_retention()))


def get_retention() -> timedelta:
    return timedelta(days=settings.PERFORMANCE_RETENTION_DAYS)


def delete_measurements(namespace_id: int, rows: PerformanceMetricQuerySet) -> int:
    """Delete those of a namespace in batches, each a transaction. Return how many."""
    total, own = 0, rows.filter(namespace_id=namespace_id)
    while deleted := delete_batch(own):
        total += deleted
    return total


@retry_on_deadlock
def delete_batch(rows: PerformanceMetricQuerySet) -> int:
    with bounded_transaction():
        return rows.filter(pk__in=rows.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]
