"""What sessions and keys leave behind, removed in the background."""

from celery import shared_task

from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.models import IdempotentAnswer, SessionMemory
from sessions_app.models.sessions import SessionQuerySet

DELETE_BATCH_SIZE = 1_000


@shared_task
def delete_old_idempotency_keys() -> int:
    """Drop answers older than 24 hours. Safe to run twice, in parallel, or late."""
    return IdempotentAnswer.objects.old().delete()[0]


@shared_task
def delete_outdated_sessions(namespace_id: int | None = None, max_age_hours: float | None = None) -> int:
    """Remove sessions not added to for so long (by default each by its own time to live), in batches; how many.

    Readers never see what is over, so nothing waits for this. Safe to run twice, in parallel, or late.
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
    # The condition stands outside as well, where it is asked again of a session that was renewed meanwhile.
    return outdated.filter(pk__in=outdated.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]
