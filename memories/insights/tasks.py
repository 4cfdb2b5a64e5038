"""What insights need in the background."""

from celery import shared_task

from memories.insights.capture import backfill_insights
from memories.insights.retention import prune
from sessions_app.models import Namespace


@shared_task
def prune_insights() -> int:
    """Delete insights of every namespace that are old, of little quality and unused; how many. Safe to run twice, in
    parallel, or late."""
    return prune()


@shared_task
def adopt_insights() -> int:
    """Give their rows to insights that came as mere memories, by an import above all; how many. Safe to run twice, in
    parallel, or late."""
    return sum(backfill_insights(pk) for pk in Namespace.objects.values_list("pk", flat=True))
