"""`manage.py counts`: count memories by type or by user."""

from argparse import ArgumentParser

from django.db.models import Count, Max, Q

from memories.models import Memory
from sessions_app.commands import ListingCommand, get_namespace

GROUP_COLUMNS = {"type": "memory_type", "user": "user_id"}


class Command(ListingCommand):
    help = "Count memories by type or by user."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--by", choices=GROUP_COLUMNS, default="type", help="default: type")

    def handle(self, *, namespace: str, by: str, format: str, **options: object) -> None:
        rows = Memory.objects.in_namespace(get_namespace(namespace).pk).values(GROUP_COLUMNS[by])
        counted = rows.annotate(
            memories=Count("pk"), embedded=Count("pk", filter=Q(due=None)), newest=Max("created_at")
        )
        self.print_rows(counted.order_by("-memories", GROUP_COLUMNS[by]), format)
