"""`manage.py end_sessions`: log an account out of the console everywhere."""

from argparse import ArgumentParser

from memory_site.operations.access.accounts import find_account
from memory_site.operations.access.events import COMMAND, record
from memory_site.operations.access.models import EventKind
from memory_site.operations.access.sessions import end_sessions
from sessions_app.commands import MemoryCommand


class Command(MemoryCommand):
    help = "End all sessions of an account of the console."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account")

    def handle(self, *, account: str, **options: object) -> None:
        count = end_sessions(find_account(account))
        if count:
            record(EventKind.SESSION_ENDED, actor=f"{COMMAND}:end_sessions", subject=account)
        self.stdout.write(f"Ended {count} sessions of {account}.")
