"""Background clean-up of expired sessions and idempotency keys."""

from functools import partial

from celery import shared_task

from memory_site.core.db.locks import bounded_transaction
from memory_site.core.db.retry import retry_on_deadlock
from sessions_app.models import IdempotentAnswer, SessionMemory
from sessions_app.models.sessions import SessionQuerySet
from sessions_app.namespaces import find_namespaces, for_each_namespace

DELETE_BATCH_SIZE = 1_000


@shared_task
def delete_old_idempotency_keys() -> int:
    """Delete answers older than 24 hours. Safe to run twice, in parallel, or late."""
    return for_each_namespace(delete_old_answers, find_namespaces(IdempotentAnswer.objects.expired()))


@retry_on_deadlock
def delete_old_answers(namespace_id: int) -> int:
    with bounded_transaction():
        return IdempotentAnswer.objects.filter(namespace_id=namespace_id).expired().delete()[0]


@shared_task
def delete_outdated_sessions(namespace_id: int | None = None, max_age_hours: float | None = None) -> int:
    """Delete sessions not added to for `max_age_hours` (default: each session's time to live); return how many.

    Deletes in batches. Readers never see expired sessions, so nothing waits for this. Safe to run twice, in parallel,
    or late.
    """
    outdated = find_outdated_sessions(namespace_id, max_age_hours)
    if namespace_id is not None:
        return delete_sessions(namespace_id, outdated)
    return for_each_namespace(partial(delete_sessions, outdated=outdated), find_namespaces(outdated))


def delete_sessions(namespace_id: int, outdated: SessionQuerySet) -> int:
    total, own = 0, outdated.filter(namespace_id=namespace_id)
    while deleted := delete_batch(own):
        total += deleted
    return total


def find_outdated_sessions(namespace_id: int | None, max_age_hours: float | None) -> SessionQuerySet:
    outdated = SessionMemory.objects.outdated(max_age_hours)
    return outdated if namespace_id is None else outdated.filter(namespace_id=namespace_id)


@retry_on_deadlock
def delete_batch(outdated: SessionQuerySet) -> int:
    # The condition is repeated outside the subquery, where PostgreSQL checks it again for a row it had to wait for: a
    # session that was renewed meanwhile stays.
    with bounded_transaction():
        return outdated.filter(pk__in=outdated.values("pk")[:DELETE_BATCH_SIZE]).delete()[0]
