"""`manage.py revoke_api_key`: revoke an API key for good."""

from argparse import ArgumentParser

from django.core.management.base import CommandError

from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand
from sessions_app.models import KEY_PREFIX, ApiKey, hash_token


class Command(MemoryCommand):
    help = "Revoke an API key; every process notices within a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help=f"the key, or its id (the part between {KEY_PREFIX} and the next _)")

    def handle(self, *, key: str, **options: object) -> None:
        key_id, _, secret = key.removeprefix(KEY_PREFIX).partition("_")
        api_key = ApiKey.objects.filter(pk=key_id[:16]).first()
        if api_key is None or (secret and bytes(api_key.digest) != hash_token(key)):
            raise CommandError("There is no such key.", returncode=EXIT_USAGE_ERROR)
        self.stdout.write(f"{api_key} is revoked." if api_key.revoke() else f"{api_key} was already revoked.")
