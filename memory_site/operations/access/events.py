"""Records what happens at the console's door: logins, failed ones, lockouts, ended sessions."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils import timezone

from memory_site.core.http.client_address import get_client_address
from memory_site.operations.access.models import AccessEvent, EventKind
from memory_site.operations.access.second_factor import PENDING, has_second_factor
from memory_site.operations.access.session_store import ADDRESS, AGENT, STARTED

CONSOLE, COMMAND = "console", "command"
#: Instead of a name that no account has: it may be a password in the wrong field.
UNKNOWN_ACCOUNT = "an unknown name"


def record(kind: EventKind, *, request: HttpRequest | None = None, actor: str = "", subject: str = "") -> None:
    """Add a line to the audit. Without an actor it is the user of the request."""
    AccessEvent.objects.create(
        kind=kind,
        actor=(actor or name_actor(request))[:200],
        subject=subject[:200],
        address=get_client_address(request) if request else None,
        request_id=getattr(request, "id", "")[:128],
    )


def name_actor(request: HttpRequest | None) -> str:
    return f"{CONSOLE}:{request.user.get_username()}" if request else COMMAND


def note_login(request: HttpRequest, user: Any, **_: Any) -> None:
    """Have the session's row show where it comes from, and the console ask for a code."""
    request.session[STARTED] = timezone.now().timestamp()
    request.session[ADDRESS] = get_client_address(request)
    request.session[AGENT] = request.headers.get("User-Agent", "").replace("\0", "")
    if has_second_factor(user):
        request.session[PENDING] = True
    else:
        record(EventKind.LOGIN, request=request, actor=f"{CONSOLE}:{user.get_username()}")


def note_logout(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        record(EventKind.LOGOUT, request=request, actor=f"{CONSOLE}:{user.get_username()}")


def note_failed_login(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Record an attempt; of those that are refused while the account is locked, none."""
    if request is None:
        return
    name = name_account(credentials.get("username") or "")
    was_locked = getattr(request, "axes_locked_out", False)
    if was_locked and is_lockout_recorded(name, get_client_address(request)):
        return
    record(EventKind.FAILED_LOGIN, request=request, actor=CONSOLE, subject=name)
    if was_locked:
        record(EventKind.LOCKED_OUT, request=request, actor=CONSOLE, subject=name)


def is_lockout_recorded(name: str, address: str | None) -> bool:
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    locked = AccessEvent.objects.filter(kind=EventKind.LOCKED_OUT, subject=name, address=address)
    return locked.filter(at__gt=since).exists()


def name_account(username: str) -> str:
    is_known = get_user_model().objects.filter(username=username).exists()
    return username if is_known else UNKNOWN_ACCOUNT
