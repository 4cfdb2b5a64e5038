"""Background tasks of insights. Each is safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.insights.capture import backfill_insights
from memories.insights.retention import get_unseen_insights, prune
from sessions_app.models import Namespace


@shared_task
def prune_insights() -> int:
    """Delete insights of every namespace that are old, of low quality, and were never used nor found for long; return
    how many."""
    return prune(get_unseen_insights())


@shared_task
def adopt_insights() -> int:
    """Insert the insight rows that memories of type `insight` lack after an import; return how many."""
    return sum(backfill_insights(pk) for pk in Namespace.objects.values_list("pk", flat=True))
