"""Background clean-up of expired sessions and idempotency keys."""

from celery import shared_task

from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.models import IdempotentAnswer, SessionMemory
from sessions_app.models.sessions import SessionQuerySet

DELETE_BATCH_SIZE = 1_000


@shared_task
def delete_old_idempotency_keys() -> int:
    """Delete answers older than 24 hours. Safe to run twice, in parallel, or late."""
    return IdempotentAnswer.objects.expired().delete()[0]


@shared_task
def delete_outdated_sessions(namespace_id: int | None = None, max_age_hours: float | None = None) -> int:
    """Delete sessions not added to for `max_age_hours` (default: each session's time to live); return how many.

    Deletes in batches. Readers never see expired sessions, so nothing waits for this. Safe to run twice, in parallel,
    or late.
    """
    total, outdated = 0, find_outdated_sessions(namespace_id, max_age_hours)
    while deleted := delete_batch(outdated):
        total += deleted
    return total


def find_outdated_sessions(namespace_id: int | None, max_age_hours: float | None) -> SessionQuerySet:
    outdated = SessionMemory.objects.outdated(max_age_hours)
    return outdated if namespace_id is None else outdated.filter(namespace_id=namespace_id)


@retry_on_deadlock
def delete_batch(outdated: SessionQuerySet) -> int:
    # The condition is repeated outside the subquery, where PostgreSQL checks it again for a row it had to wait for: a
    # session that was renewed meanwhile stays.
    return outdated.filter(pk__in=outdated.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]
