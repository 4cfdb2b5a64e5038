"""`manage.py unlock_login`: let accounts log in again that failed logins have locked."""

from argparse import ArgumentParser

from memory_site.operations.access.events import COMMAND, record
from memory_site.operations.access.lockouts import unlock
from memory_site.operations.access.models import EventKind
from sessions_app.commands import MemoryCommand


class Command(MemoryCommand):
    help = "Forget the failed logins to the console, of one account or of all, which ends their lockout."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", nargs="?", help="default: all accounts")

    def handle(self, *, account: str | None, **options: object) -> None:
        count = unlock(account)
        if count:
            record(EventKind.UNLOCKED, actor=f"{COMMAND}:unlock_login", subject=account or "all accounts")
        self.stdout.write(f"Unlocked {account or 'all accounts'}: {count} addresses had failed logins.")
