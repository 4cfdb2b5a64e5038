"""`manage.py delete_namespace NAME`: count, ask and delete a namespace with its keys."""

from argparse import ArgumentParser

from memory_site.operations.namespaces.contents import count_contents, delete_namespace
from sessions_app.commands import MemoryCommand, get_namespace
from sessions_app.confirmation import add_confirmation_argument, confirm_deletion


class Command(MemoryCommand):
    help = (
        "Count, ask and delete a namespace with everything in it and its API keys. `forget --everything` empties it "
        "and keeps the keys."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--dry-run", action="store_true", help="only count")
        add_confirmation_argument(parser)

    def handle(self, *, name: str, dry_run: bool, yes_delete: int | None, **options: object) -> None:
        namespace = get_namespace(name)
        counts = count_contents(namespace.pk)
        for kind, number in counts.items():
            self.stdout.write(f"{number:>12,}  {kind}")
        total = sum(counts.values())
        if dry_run:
            self.stdout.write(f"{total:,} rows would be deleted, and the namespace.")
            return
        confirm_deletion(f"the namespace's name, {namespace.name}", namespace.name, total, yes_delete)
        delete_namespace(namespace)
        self.stdout.write("Deleted.")
