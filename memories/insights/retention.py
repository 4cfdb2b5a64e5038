"""Pruning: insights that are old, of little quality and of no use to anybody go."""

from datetime import timedelta

from django.db import transaction

from memories.insights.models import Insight, InsightQuerySet
from memories.models import Memory

DEFAULT_PRUNE_AGE, DEFAULT_MIN_QUALITY = timedelta(days=90), 0.4
PRUNE_BATCH_SIZE = 1_000


def get_prunable_insights(
    namespace_id: int | None = None, age: timedelta = DEFAULT_PRUNE_AGE, quality: float = DEFAULT_MIN_QUALITY
) -> InsightQuerySet:
    """Of one namespace, or of all."""
    rows = Insight.objects.prunable(age, quality)
    return rows if namespace_id is None else rows.filter(namespace_id=namespace_id)


def prune(
    namespace_id: int | None = None, age: timedelta = DEFAULT_PRUNE_AGE, quality: float = DEFAULT_MIN_QUALITY
) -> int:
    """Delete them in batches; how many. One that somebody uses or changes at this moment is left for another time."""
    total, rows = 0, get_prunable_insights(namespace_id, age, quality)
    while deleted := prune_batch(rows):
        total += deleted
    return total


@transaction.atomic
def prune_batch(rows: InsightQuerySet) -> int:
    """The memory goes and its insight with it. Both are held first, so that a use in between is not lost."""
    held = rows.select_related("memory").only("memory__id").select_for_update(skip_locked=True, of=("self", "memory"))
    keys = [each.pk for each in held.order_by("pk")[:PRUNE_BATCH_SIZE]]
    return Memory.objects.filter(pk__in=keys).delete()[0] if keys else 0
