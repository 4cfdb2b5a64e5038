"""The health check of the sessions' histories."""

from memory_site.operations.health.results import MAX_SAMPLED_ROWS, CheckResult, HealthStatus
from sessions_app.encryption import HistoryUnreadable, Interaction, decrypt
from sessions_app.models import SessionMemory


def check_histories() -> CheckResult:
    """Check that the latest sessions can be decrypted, so that a lost key is noticed here and not by a client."""
    latest = SessionMemory.objects.order_by("-updated_at", "-id").values_list("history__-1", flat=True)[
        :MAX_SAMPLED_ROWS
    ]
    unreadable = sum(not can_decrypt(interaction) for interaction in latest if interaction)
    if unreadable:
        return HealthStatus.DEGRADED, f"{unreadable} of the latest sessions are encrypted, and no key decrypts them."
    return HealthStatus.HEALTHY, "The latest sessions can be read."


def can_decrypt(interaction: Interaction) -> bool:
    try:
        return bool(decrypt(interaction))
    except HistoryUnreadable:
        return False
