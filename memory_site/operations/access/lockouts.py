"""Lifts the lockouts that follow on failed logins."""

from axes.models import AccessAttempt


def unlock(username: str | None = None) -> int:
    """Forget the failed logins of an account, or of all. Return for how many pairs of account and address."""
    attempts = AccessAttempt.objects.all() if username is None else AccessAttempt.objects.filter(username=username)
    return attempts.delete()[0]
