"""`manage.py reset_second_factor`: take the second factor off an account whose phone and recovery codes are lost."""

from argparse import ArgumentParser

from memory_site.operations.access.accounts import find_account
from memory_site.operations.access.events import COMMAND, record
from memory_site.operations.access.models import EventKind
from memory_site.operations.access.second_factor import reset_second_factor
from sessions_app.commands import MemoryCommand


class Command(MemoryCommand):
    help = "Take the second factor off an account: its password lets it in, to set up a new one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account")

    def handle(self, *, account: str, **options: object) -> None:
        if not reset_second_factor(find_account(account)):
            self.stdout.write(f"{account} has no second factor.")
            return
        record(EventKind.SECOND_FACTOR_RESET, actor=f"{COMMAND}:reset_second_factor", subject=account)
        self.stdout.write(f"The second factor of {account} is reset.")
