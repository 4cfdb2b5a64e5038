"""`manage.py rotate_api_key`: create a key that takes another one's place."""

from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import CommandError

from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, MemoryCommand
from sessions_app.models import KEY_PREFIX, ApiKey, KeyNotRotated

MAX_GRACE_HOURS = 24 * 366


class Command(MemoryCommand):
    help = (
        "Create a key with the namespace and scopes of another one, which ends after a grace time. Print it on stdout."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help=f"the id of the old key: the part between {KEY_PREFIX} and the next _")
        parser.add_argument("--grace-hours", type=int, default=24, help="how long the old key works; default: 24")

    def handle(self, *, key: str, grace_hours: int, **options: object) -> None:
        if not 0 <= grace_hours <= MAX_GRACE_HOURS:
            raise CommandError(f"--grace-hours must lie between 0 and {MAX_GRACE_HOURS}.", returncode=EXIT_USAGE_ERROR)
        key_id = key.removeprefix(KEY_PREFIX).partition("_")[0][:16]
        old = None if "\0" in key_id else ApiKey.objects.filter(pk=key_id).first()
        if old is None:
            raise CommandError("There is no such key.", returncode=EXIT_USAGE_ERROR)
        try:
            _, token = ApiKey.objects.rotate(old, timedelta(hours=grace_hours))
        except KeyNotRotated as error:
            raise CommandError("It was rotated already, or does not work any more.", returncode=EXIT_FAILED) from error
        self.stderr.write(f"The key that replaces {old}, which works for another {grace_hours} hours; shown only once:")
        self.stdout.write(token)
