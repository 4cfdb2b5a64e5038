"""What beat has a worker do with the console's own records."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from memory_site.operations.access.models import AccessEvent
from memory_site.operations.access.sessions import delete_ended_sessions

#: Who logged in when is kept for so long.
EVENT_RETENTION = timedelta(days=365)


@shared_task
def delete_ended() -> None:
    """Delete sessions that have ended, and records of logins that are old. Safe to run twice, in parallel, or late."""
    delete_ended_sessions()
    AccessEvent.objects.filter(at__lt=timezone.now() - EVENT_RETENTION).delete()
