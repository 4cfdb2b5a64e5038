"""Background tasks of insights. Each is safe to run twice, in parallel, or late."""

from functools import partial

from celery import shared_task

from memories.insights.capture import backfill_insights, select_orphans
from memories.insights.retention import get_unseen_insights, prune
from sessions_app.namespaces import find_namespaces, for_each_namespace


@shared_task
def prune_insights() -> int:
    """Delete insights of every namespace that are old, of low quality, and were never used nor found for long; return
    how many."""
    unseen = get_unseen_insights()
    return for_each_namespace(partial(prune, rows=unseen), find_namespaces(unseen))


@shared_task
def adopt_insights() -> int:
    """Insert the insight rows that memories of type `insight` lack after an import; return how many."""
    return for_each_namespace(backfill_insights, find_namespaces(select_orphans()))
