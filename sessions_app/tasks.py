from celery import shared_task

from sessions_app.models import IdempotentAnswer


@shared_task
def delete_old_idempotency_keys() -> int:
    """Drop answers older than 24 hours. Safe to run twice, in parallel, or late."""
    return IdempotentAnswer.objects.old().delete()[0]
