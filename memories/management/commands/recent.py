"""`manage.py recent`: list the newest memories."""

from argparse import ArgumentParser
from datetime import timedelta

from django.core.management.base import CommandError
from django.db.models.functions import Now

from memories.memory_types import MemoryType
from memories.models import RECENT_PERIOD, Memory
from sessions_app.commands import EXIT_USAGE_ERROR, ListingCommand, get_namespace

MAX_DAYS = 100_000


class Command(ListingCommand):
    help = "List the newest memories of the last days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--limit", type=int, default=20, help="default: 20")
        parser.add_argument("--days", type=float, default=RECENT_PERIOD.days, help="default: %(default)s")
        parser.add_argument("--user", help="only of this user")
        parser.add_argument("--type", choices=[kind.value for kind in MemoryType], metavar="TYPE", help="only of it")

    def handle(self, *, namespace: str, limit: int, days: float, format: str, **options: str | None) -> None:
        if not 0 < days <= MAX_DAYS:
            raise CommandError(f"--days must be above 0 and at most {MAX_DAYS:,}.", returncode=EXIT_USAGE_ERROR)
        labels = {"user_id": options["user"], "memory_type": options["type"]}
        rows = Memory.objects.in_namespace(get_namespace(namespace).pk).newest_first()
        rows = rows.filter(created_at__gte=Now() - timedelta(days=days))
        rows = rows.filter(**{name: value for name, value in labels.items() if value is not None})
        self.print_rows(rows.values("id", "created_at", "memory_type", "user_id", "content")[: max(limit, 0)], format)
