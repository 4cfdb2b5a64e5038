"""`manage.py revoke_api_key`: close a key for good."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand
from sessions_app.models import ApiKey, digest


class Command(MemoryCommand):
    help = "Revoke an API key; every process notices within a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="the key, or its id (the part between mem_ and the next _)")

    def handle(self, *, key: str, **options: object) -> None:
        key_id, _, secret = key.removeprefix("mem_").partition("_")
        found = ApiKey.objects.filter(pk=key_id[:16]).first()
        if found is None or (secret and bytes(found.digest) != digest(key)):
            raise CommandError("There is no such key.", returncode=EXIT_USAGE_ERROR)
        self.stdout.write(f"{found} is revoked." if found.revoke() else f"{found} was revoked before.")
