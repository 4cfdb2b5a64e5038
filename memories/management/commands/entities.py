"""`manage.py entities`: list the objects of external systems that memories describe."""

from argparse import ArgumentParser

from memories.models import Memory
from sessions_app.commands import ListingCommand, get_namespace

ENTITY_LIST_COLUMNS = (
    "id",
    "entity_system",
    "entity_type",
    "entity_id",
    "entity_name",
    "user_id",
    "update_count",
    "updated_at",
)


class Command(ListingCommand):
    help = "List entities, the last updated first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--system", help="only of this external system")
        parser.add_argument("--user", help="only of this user")
        parser.add_argument("--limit", type=int, default=100, help="default: 100")

    def handle(self, *, namespace: str, system: str, user: str, limit: int, format: str, **options: object) -> None:
        rows = Memory.objects.in_namespace(get_namespace(namespace).pk).exclude(entity_id=None)
        rows = rows.filter(entity_system=system) if system else rows
        rows = rows.filter(user_id=user) if user else rows
        self.print_rows(rows.order_by("-updated_at", "-id").values(*ENTITY_LIST_COLUMNS)[: max(limit, 0)], format)
