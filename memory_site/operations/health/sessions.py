"""The health check of the sessions' histories."""

from collections import Counter

from django.conf import settings

from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from sessions_app.key_rotation import KeyRole, find_key
from sessions_app.models import SessionMemory

#: Of the sessions that cannot be read.
MAX_NAMED_SESSIONS = 5
ROTATE = "python manage.py reencrypt_sessions"


def check_histories() -> CheckResult:
    """Check that a sample of the sessions can be decrypted, so that a lost key is noticed here and not by a client.

    The latest and the oldest ones: those would be the first that need a new key, and the last that need an old one.
    """
    roles = {name: find_key(stored).role for name, stored in sample_sessions().items()}
    counts = Counter(roles.values())
    if missing := [name for name, role in roles.items() if role is KeyRole.MISSING]:
        names = ", ".join(f"{session!r} in {namespace!r}" for namespace, session in missing[:MAX_NAMED_SESSIONS])
        more = f" and {len(missing) - MAX_NAMED_SESSIONS} more" if len(missing) > MAX_NAMED_SESSIONS else ""
        return HealthStatus.DEGRADED, f"No key decrypts {names}{more}, of {len(roles)} sessions that were looked at."
    if counts[KeyRole.EARLIER]:
        message = f"{counts[KeyRole.EARLIER]} of {len(roles)} sessions that were looked at need an earlier key."
        return HealthStatus.HEALTHY, message, ROTATE
    if settings.SESSION_ENCRYPTION_KEYS and counts[KeyRole.PLAIN]:
        message = f"{counts[KeyRole.PLAIN]} of {len(roles)} sessions that were looked at are not encrypted."
        return HealthStatus.HEALTHY, message, ROTATE
    return HealthStatus.HEALTHY, "The latest sessions can be read."


def sample_sessions() -> dict[tuple[str, str], dict]:
    """Return the last interaction of the latest and of the oldest sessions, by namespace and session id."""
    rows = SessionMemory.objects.values_list("namespace__name", "session_id", "history__-1")
    latest = rows.order_by("-updated_at", "-id")[:MAX_SAMPLED_ROWS]
    oldest = rows.order_by("updated_at", "id")[:MAX_SAMPLED_ROWS]
    return {(namespace, session): last for namespace, session, last in (*latest, *oldest) if last}
