"""Prune insights: delete those that are old, of low quality and never used."""

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from memories.insights.models import Insight, InsightQuerySet
from memories.models import Memory

DEFAULT_PRUNE_AGE, DEFAULT_MIN_QUALITY = timedelta(days=90), 0.4
PRUNE_BATCH_SIZE = 1_000


def get_prunable_insights(
    namespace_id: int | None = None, age: timedelta = DEFAULT_PRUNE_AGE, quality: float = DEFAULT_MIN_QUALITY
) -> InsightQuerySet:
    """Return the prunable insights of one namespace, or of all, by their age. Expired ones are included."""
    rows = Insight.objects.prunable(age, quality)
    return rows if namespace_id is None else rows.filter(namespace_id=namespace_id)


def get_unseen_insights() -> InsightQuerySet:
    """Return the prunable insights that were neither stored here nor found by a search for DEFAULT_PRUNE_AGE: history
    that was just imported is old, and is not deleted by itself."""
    return get_prunable_insights().filter(memory__last_seen_at__lt=Now() - DEFAULT_PRUNE_AGE)


def prune(namespace_id: int, rows: InsightQuerySet) -> int:
    """Delete those of the insights that belong to the namespace, in batches of PRUNE_BATCH_SIZE; return how many.

    Locked rows are skipped: the next run will see them.
    """
    total = 0
    while deleted := prune_batch(namespace_id, rows):
        total += deleted
    return total


@transaction.atomic
def prune_batch(namespace_id: int, rows: InsightQuerySet) -> int:
    """Delete the memories of one batch; the insights are deleted by cascade. Return how many.

    Both rows are locked first, so that a concurrent use or change is not lost.
    """
    own = rows.filter(namespace_id=namespace_id).select_related("memory").only("memory__id")
    locked = own.select_for_update(skip_locked=True, of=("self", "memory"))
    keys = [each.pk for each in locked.order_by("pk")[:PRUNE_BATCH_SIZE]]
    return Memory.objects.filter(namespace_id=namespace_id, pk__in=keys).delete()[0] if keys else 0
