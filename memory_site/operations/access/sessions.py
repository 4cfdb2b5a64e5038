"""Ends sessions: by hand, and when a password changes or an account is switched off."""

from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from memory_site.operations.access.models import ConsoleSession
from memory_site.operations.access.session_store import SessionStore


def end_sessions(user: Any, *, except_key: str | None = None) -> int:
    """End the sessions of an account, but for the one with this digest. Return how many there were."""
    sessions = list_sessions().filter(user=user).exclude(session_key=except_key or "")
    return sessions.delete()[0]


def list_sessions():
    """Return the sessions that go on, latest first."""
    return ConsoleSession.objects.filter(user__isnull=False, expire_date__gt=timezone.now()).order_by("-seen_at")


def end_after_change(instance: User, created: bool, update_fields: Any = None, **_: Any) -> None:
    """End an account's sessions when it is switched off or its password changes.

    Django saves the browser that changed its own password under a new key afterwards.
    """
    has_new_password = getattr(instance, "_password", None) is not None
    if not created and (has_new_password or not instance.is_active):
        ConsoleSession.objects.filter(user=instance).delete()


def delete_ended_sessions() -> None:
    SessionStore.clear_expired()
