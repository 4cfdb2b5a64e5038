"""Accounts of the console by name, for commands."""

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from sessions_app.commands import EXIT_USAGE_ERROR


def find_account(name: str) -> User:
    """Return the account. Raise CommandError if there is none."""
    account = None if "\0" in name else User.objects.filter(username=name).first()
    if account is None:
        raise CommandError(f"There is no account {name!r}.", returncode=EXIT_USAGE_ERROR)
    return account
