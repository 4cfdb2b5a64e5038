"""`manage.py recent`: list the newest memories."""

from argparse import ArgumentParser

from memories.models import Memory
from sessions_app.commands import ListingCommand, get_namespace


class Command(ListingCommand):
    help = "List the newest memories of the last 30 days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--limit", type=int, default=20, help="default: 20")

    def handle(self, *, namespace: str, limit: int, format: str, **options: object) -> None:
        rows = Memory.objects.in_namespace(get_namespace(namespace).pk).recent()
        self.print_rows(rows.values("id", "created_at", "memory_type", "user_id", "content")[: max(limit, 0)], format)
