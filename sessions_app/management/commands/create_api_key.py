"""`manage.py create_api_key`: create an API key, and its namespace when that is new."""

from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import CommandError
from django.utils import timezone

from sessions_app.commands import EXIT_USAGE_ERROR, MemoryCommand
from sessions_app.models import READ, SCOPES, WRITE, ApiKey, Namespace


class Command(MemoryCommand):
    help = "Create an API key and print it on stdout; it cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--namespace", required=True, help="namespace of the key; created when it is new")
        parser.add_argument("--scopes", nargs="+", choices=SCOPES, default=[READ, WRITE], help="default: read write")
        parser.add_argument("--name", default="", help="purpose of the key")
        parser.add_argument("--expires-in-days", type=int, help="default: never")

    def handle(
        self, *, namespace: str, scopes: list[str], name: str, expires_in_days: int | None, **options: object
    ) -> None:
        if not namespace.strip() or len(namespace) > 255 or len(name) > 255:
            raise CommandError(
                "A namespace needs a name, and names may have at most 255 characters.", returncode=EXIT_USAGE_ERROR
            )
        if expires_in_days is not None and not 1 <= expires_in_days <= 36_500:
            raise CommandError("--expires-in-days must lie between 1 and 36500.", returncode=EXIT_USAGE_ERROR)
        expires = timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None
        owner, created = Namespace.objects.get_or_create(name=namespace)
        _, token = ApiKey.objects.issue(owner, name=name, scopes=tuple(dict.fromkeys(scopes)), expires_at=expires)
        self.stderr.write(f"A key for the {'new ' if created else ''}namespace {namespace!r}; it is shown only once:")
        self.stdout.write(token)
